from math import log

import numpy as np
import pytest
from jaxtyping import Float64
from scipy import stats

from recsys.experiments.sample_ratio import ALARM, check_sample_ratio, log_bayes_factor

_HALVES = np.array([0.5, 0.5])


def test_the_published_example_is_found() -> None:
    found = check_sample_ratio({"control": 821_588, "treatment": 815_482}, {"control": 0.5, "treatment": 0.5})
    assert found.p_value == pytest.approx(1.82e-6, rel=0.01)
    assert not found.ok


def test_counts_are_compared_with_the_weights_and_not_with_equal_shares() -> None:
    assert check_sample_ratio({"a": 900, "b": 100}, {"a": 0.9, "b": 0.1}).p_value == 1.0
    assert not check_sample_ratio({"a": 500, "b": 500}, {"a": 0.9, "b": 0.1}).ok


def test_an_arm_without_weight_does_not_count() -> None:
    weights = {"a": 0.5, "b": 0.5, "c": 0.0}
    assert check_sample_ratio({"a": 510, "b": 490, "c": 77}, weights) == check_sample_ratio(
        {"a": 510, "b": 490}, {"a": 0.5, "b": 0.5}
    )


def test_nobody_and_a_lone_arm_are_no_mismatch() -> None:
    assert check_sample_ratio({"a": 0, "b": 0}, {"a": 0.5, "b": 0.5}).ok
    assert check_sample_ratio({"a": 10, "b": 0}, {"a": 1.0, "b": 0.0}).ok


def test_an_empty_arm_is_a_mismatch() -> None:
    assert not check_sample_ratio({"a": 200}, {"a": 0.5, "b": 0.5}).ok


def watched(random: np.random.Generator, share: float, runs: int) -> Float64[np.ndarray, "runs looks 2"]:
    """Units by arm of experiments of 200,000 units that are looked at 664 times."""
    first = random.binomial(300, share, (runs, 664)).cumsum(axis=1)
    return np.stack([first, 300 * np.arange(1, 665) - first], axis=-1).astype(np.float64)


def test_the_bayes_factor_is_the_one_that_was_published() -> None:
    counts, share = np.array([7.0, 2.0, 4.0]), np.array([0.5, 0.3, 0.2])
    mixed = stats.dirichlet_multinomial(50 * share, 13).logpmf(counts.astype(int))
    promised = stats.multinomial(13, share).logpmf(counts)
    assert log_bayes_factor(counts, share, 50.0) == pytest.approx(mixed - promised, rel=1e-9)


def test_it_is_one_on_average_whatever_is_assigned_next() -> None:
    counts, share = np.array([700.0, 200.0, 400.0]), np.array([0.5, 0.3, 0.2])
    after = np.exp(log_bayes_factor(counts + np.eye(3), share) - log_bayes_factor(counts, share))
    assert float(after @ share) == pytest.approx(1.0, rel=1e-9)


def test_664_looks_at_sound_arms_call_a_mismatch_no_more_often_than_one_should() -> None:
    counts = watched(np.random.default_rng(5), 0.5, 2_000)
    called = int((log_bayes_factor(counts, _HALVES) > -log(ALARM)).any(axis=1).sum())
    assert stats.binomtest(called, 2_000, ALARM, alternative="greater").pvalue > 0.001
    once = np.abs(counts[..., 0] - counts[..., 1]) / np.sqrt(counts.sum(axis=-1))
    assert (once > stats.norm.isf(ALARM / 2)).any(axis=1).mean() > 0.01  # what Pearson's would have called


def test_a_mismatch_of_two_points_is_called_within_30000_units() -> None:
    counts = watched(np.random.default_rng(6), 0.48, 500)[:, :100]
    assert (log_bayes_factor(counts, _HALVES) > -log(ALARM)).any(axis=1).mean() > 0.99


def test_a_mismatch_at_one_look_need_not_be_one_at_all_looks() -> None:
    found = check_sample_ratio({"a": 5_170, "b": 4_830}, {"a": 0.5, "b": 0.5})
    assert (found.ok, found.surely_broken) == (False, False)
    assert check_sample_ratio({"a": 200}, {"a": 0.5, "b": 0.5}).surely_broken
