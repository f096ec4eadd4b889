"""Tests of assignment, with the numbers that experiments rest on."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from recsys.experiments.assignment import NOBODY, assign
from tests.recsys.experiments.small_experiment import experiment

UNITS = [f"user-{i}" for i in range(20_000)]
THIRDS = [{"key": "a", "weight": 0.2}, {"key": "b", "weight": 0.3}, {"key": "c", "weight": 0.5}]


@pytest.mark.parametrize(
    ("coverage", "weights", "ranges"),
    [
        (1.0, [0.4, 0.6], [(0, 0.4), (0.4, 1)]),
        (1.0, [0.2, 0.3, 0.5], [(0, 0.2), (0.2, 0.5), (0.5, 1)]),
        (0.2, [0.2, 0.3, 0.5], [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
        (0.5, [0.5, 0.5], [(0, 0.25), (0.5, 0.75)]),
    ],
)
def test_arms_own_the_stretches_that_growthbook_gives_them(
    coverage: float, weights: list[float], ranges: list[tuple[float, float]]
) -> None:
    arms = [{"key": str(number), "weight": weight} for number, weight in enumerate(weights)]
    found = assign(experiment(hash="growthbook_v2", arms=arms), UNITS, coverage)
    for number, (start, end) in enumerate(ranges):
        inside = found.buckets[found.arms == number] / 10_000
        assert start <= inside.min() < inside.max() < end + 1e-9  # 0.2 * 0.2 > 0.04, in its SDKs too
        assert len(inside) / len(UNITS) == pytest.approx(end - start, abs=0.015)


@pytest.mark.parametrize("name", ["sha256", "growthbook_v2"])
@pytest.mark.parametrize("arms", [THIRDS, None])
def test_no_ramp_moves_a_unit(name: str, arms: list[dict[str, object]] | None) -> None:
    about = experiment(hash=name) if arms is None else experiment(hash=name, arms=arms)
    steps = [assign(about, UNITS, coverage).arms for coverage in (0.0, 0.01, 0.05, 0.25, 0.3, 0.5, 0.99, 1.0)]
    for before, after in pairwise(steps):
        stays = before != NOBODY
        assert np.array_equal(before[stays], after[stays])
        assert (after != NOBODY).sum() > stays.sum()
    assert (steps[0] == NOBODY).all()
    assert (steps[-1] != NOBODY).mean() > 0.9999


def test_arms_get_their_weights() -> None:
    counts = np.bincount(assign(experiment(arms=THIRDS), UNITS).arms, minlength=3)
    assert stats.chisquare(counts, np.asarray([0.2, 0.3, 0.5]) * len(UNITS)).pvalue > 0.001


def test_an_arm_of_weight_0_gets_nobody() -> None:
    arms = [{"key": "a", "weight": 0.0}, {"key": "b", "weight": 1.0}, {"key": "c", "weight": 0.0}]
    assert set(assign(experiment(arms=arms), UNITS).arms.tolist()) == {1}


def test_two_layers_are_independent() -> None:
    one = assign(experiment("one", layer="x", layer_range=[0.0, 0.5]), UNITS).arms
    other = assign(experiment("two", layer="y", layer_range=[0.0, 0.5]), UNITS).arms
    table = np.zeros((3, 3))
    np.add.at(table, (one + 1, other + 1), 1)
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_experiments_of_one_layer_share_its_units() -> None:
    halves = [
        assign(experiment(key, layer="x", layer_range=part), UNITS).arms != NOBODY
        for key, part in (("one", [0.0, 0.5]), ("two", [0.5, 1.0]))
    ]
    assert not (halves[0] & halves[1]).any()
    assert (halves[0] | halves[1]).all()
    within = assign(experiment("one", layer="x", layer_range=[0.0, 0.5]), UNITS).arms[halves[0]]
    assert stats.binomtest(int(within.sum()), len(within)).pvalue > 0.001  # no arm from the layer's hash


def test_targeting_takes_those_it_is_about() -> None:
    about = experiment(targeting="country = 'AT'")
    countries = [{"country": "AT"}, {"country": "DE"}, {}]
    assert (assign(about, ["a", "b", "c"], attributes=countries).arms != NOBODY).tolist() == [
        True,
        False,
        False,
    ]
    assert (assign(about, ["a"]).arms == NOBODY).all()


def test_10_000_experiments_without_effect_have_uniform_p_values() -> None:
    """100 salts, each over 100 shops of 200 units and their spending; Welch's test, all of a salt at once."""
    random, found = np.random.default_rng(7), []
    spending = random.gamma(0.5, 20.0, (100, 200))
    for number in range(100):
        arms = assign(experiment(salt=f"aa-{number}"), UNITS).arms.reshape(spending.shape)
        groups = [np.ma.masked_where(arms != arm, spending) for arm in (0, 1)]
        described = [(group.mean(1), group.std(1, ddof=1), group.count(1)) for group in groups]
        found.append(stats.ttest_ind_from_stats(*described[0], *described[1], equal_var=False).pvalue)
    assert stats.kstest(np.concatenate(found), "uniform").pvalue > 0.001
