import math

import numpy as np
import pytest

from training.calibration_fit import fit_calibration

UNTIL = 1_512_363_600_000


def pairs(*groups: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs from (similarity, how many engaged, how many did not)."""
    similarity = np.concatenate([np.full(yes + no, value) for value, yes, no in groups])
    engaged = np.concatenate([np.arange(yes + no) < yes for _, yes, no in groups])
    return similarity, engaged


def test_two_similarities_are_fitted_exactly() -> None:
    # 1 in 5 engages at similarity 0, 4 in 5 at similarity 1: the log-odds are -ln 4 and ln 4
    found = fit_calibration(*pairs((0.0, 20, 80), (1.0, 80, 20)), UNTIL)
    assert found.intercept == pytest.approx(-math.log(4), abs=1e-3)
    assert found.slope == pytest.approx(2 * math.log(4), abs=1e-3)
    assert found.probability(np.asarray([0.0, 1.0])).tolist() == pytest.approx([0.2, 0.8], abs=1e-3)
    assert found.fitted_until_ms == UNTIL


def test_probabilities_are_right_on_average() -> None:
    random = np.random.default_rng(0)
    similarity = random.uniform(-1, 1, 5_000)
    engaged = random.random(5_000) < 1 / (1 + np.exp(-(6 * similarity - 3)))
    found = fit_calibration(similarity, engaged, UNTIL)
    assert found.probability(similarity).mean() == pytest.approx(engaged.mean(), abs=1e-4)
    assert found.slope == pytest.approx(6, rel=0.1)
    assert found.intercept == pytest.approx(-3, rel=0.1)


def test_a_similarity_that_says_the_opposite_gets_a_negative_slope() -> None:
    assert fit_calibration(*pairs((0.0, 9, 1), (1.0, 1, 9)), UNTIL).slope < 0


def test_pairs_that_nobody_engaged_with_have_a_small_probability() -> None:
    similarity, engaged = pairs((0.2, 0, 50), (0.6, 0, 50))
    found = fit_calibration(similarity, engaged, UNTIL)
    assert math.isfinite(found.slope)
    assert found.probability(similarity).max() < 0.01
