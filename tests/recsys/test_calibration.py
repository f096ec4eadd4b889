import numpy as np
import pytest

from recsys.calibration import Calibration, reliability


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


def test_a_reliability_table_has_bins_of_equal_size_by_rising_probability() -> None:
    predicted = np.asarray([0.9, 0.1, 0.2, 0.8])
    found = reliability(predicted, np.asarray([True, False, True, True]), num_bins=2)
    assert [b.predicted for b in found.bins] == pytest.approx([0.15, 0.85])
    assert [(b.observed, b.count) for b in found.bins] == [(0.5, 2), (1.0, 2)]
    # |0.15 - 0.5| and |0.85 - 1|, half the pairs each
    assert found.expected_calibration_error == pytest.approx((0.35 + 0.15) / 2)


def test_right_probabilities_have_a_small_error_and_wrong_ones_a_large_one() -> None:
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 0.5, 20_000)
    engaged = random.random(20_000) < predicted
    assert reliability(predicted, engaged).expected_calibration_error < 0.02
    assert reliability(predicted / 2, engaged).expected_calibration_error > 0.1
    assert len(reliability(predicted, engaged).bins) == 10


def test_fewer_pairs_than_bins_get_a_bin_each() -> None:
    assert len(reliability(np.asarray([0.5, 0.1]), np.asarray([True, False])).bins) == 2
