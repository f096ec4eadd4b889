"""Tests of the measure of drifting scores."""

import numpy as np
import pytest

from serving.score_drift import ScoreDrift


def test_the_standard_is_the_mean_and_deviation_of_the_first_thousand() -> None:
    scores = np.random.default_rng(1).normal(3, 2, 1000)
    drift = ScoreDrift()
    for score in scores.tolist():
        drift.add(score)
    assert drift.mean == pytest.approx(scores.mean())
    assert drift.deviation == pytest.approx(scores.std(ddof=1))
    assert drift.drift == 0


def test_a_shift_of_one_deviation_shows_as_one() -> None:
    rng = np.random.default_rng(2)
    drift = ScoreDrift()
    for score in [*rng.normal(3, 2, 1000).tolist(), *rng.normal(5, 2, 10_000).tolist()]:
        drift.add(score)
    assert drift.drift == pytest.approx(1, abs=0.15)


def test_equal_scores_do_not_drift() -> None:
    drift = ScoreDrift()
    assert (drift.drift, drift.deviation) == (0, 0)
    for _ in range(2000):
        drift.add(1.5)
    assert drift.drift == 0
