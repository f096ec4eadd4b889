"""One value per user against nothing: when it may be read, and when it decides nothing."""

import numpy as np
import pytest
from jaxtyping import Float
from scipy import stats

from recsys.experiments.definition import Analysis
from recsys.experiments.one_sample import one_sample

_READINGS = np.linspace(200, 4_000, 40).astype(int)


def clicks_apart(random: np.random.Generator, num_users: int) -> Float[np.ndarray, " users"]:
    """By user, the mean over lists of clicks on one side less those on the other; there is no effect."""
    lists = random.integers(1, 6, num_users)
    return (random.binomial(lists, 0.3) - random.binomial(lists, 0.3)) / lists


def test_a_test_with_a_plan_is_students() -> None:
    values = clicks_apart(np.random.default_rng(0), 400) + 0.05
    found, expected = one_sample(values, Analysis(expected_units=400)), stats.ttest_1samp(values, 0.0)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)


@pytest.mark.parametrize(
    "analysis",
    [
        Analysis(),
        Analysis(method="always_valid", expected_units=2_000),
    ],
)
def test_forty_readings_where_there_is_nothing_decide_no_more_often_than_alpha(analysis: Analysis) -> None:
    random = np.random.default_rng(7)
    wrong = naive = 0
    for _ in range(60):
        values = clicks_apart(random, int(_READINGS[-1]))
        wrong += any(not one_sample(values[:users], analysis).undecided for users in _READINGS)
        z = np.cumsum(values)[_READINGS - 1] / np.sqrt(np.cumsum(values**2)[_READINGS - 1])
        naive += bool((np.abs(z) > 1.96).any())
    assert stats.binomtest(wrong, 60, 0.05, alternative="greater").pvalue > 0.001
    assert naive >= 9  # a test for one look finds something in a fourth of them


def test_a_difference_is_found_while_it_is_watched() -> None:
    values = clicks_apart(np.random.default_rng(3), 4_000) + 0.05
    assert one_sample(values, Analysis(method="always_valid", expected_units=2_000)).undecided == ""


def test_few_users_and_users_who_are_all_alike_decide_nothing() -> None:
    assert one_sample(np.array([1.0] * 199 + [0.0]), Analysis(expected_units=200)).undecided == ""
    assert one_sample(np.array([1.0] * 150 + [0.0] * 49), Analysis()).undecided == "fewer than 200 users"
    for few in ([], [1.0]):
        assert one_sample(np.array(few), Analysis()).p_value == 1.0
    alike = one_sample(np.full(300, 0.1), Analysis())
    assert (alike.p_value, "alike" in alike.undecided) == (1.0, True)
