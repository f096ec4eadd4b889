import numpy as np
import pytest

from recsys.calibration import Calibration


def test_the_probability_is_the_sigmoid_of_slope_times_similarity_plus_intercept() -> None:
    similarity = np.asarray([0.25, 0.5, 0.0], np.float32)
    found = Calibration(4.0, -1.0, 0).probability(similarity)
    # sigmoid(0) = 1/2, sigmoid(1) = e / (1 + e), sigmoid(-1) = 1 / (1 + e)
    assert found.tolist() == pytest.approx([0.5, 0.7310585786300049, 0.2689414213699951])
    assert found.dtype == np.float64


def test_probabilities_rise_with_similarity_and_stay_between_0_and_1() -> None:
    found = Calibration(20.0, -10.0, 0).probability(np.linspace(-1, 1, 101))
    assert np.all(np.diff(found) > 0)
    assert 0 < found.min() < found.max() < 1


def test_no_items_have_no_probabilities() -> None:
    assert Calibration(1.0, 0.0, 0).probability(np.empty(0, np.float32)).shape == (0,)
