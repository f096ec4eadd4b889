import numpy as np
import pytest
from scipy import stats

from recsys.experiments.group_sequential import (
    Spending,
    alpha_spent,
    bounds,
    crossing_probabilities,
    p_value,
)

LAN_DEMETS: dict[tuple[Spending, int], tuple[float, ...]] = {
    # Two-sided alpha .05, equally spaced looks; as printed by ldbounds and gsDesign.
    ("obrien_fleming", 2): (2.9626, 1.9686),
    ("obrien_fleming", 3): (3.7103, 2.5114, 1.9930),
    ("obrien_fleming", 4): (4.3326, 2.9631, 2.3590, 2.0141),
    ("obrien_fleming", 5): (4.8769, 3.3569, 2.6803, 2.2898, 2.0310),
    ("pocock", 2): (2.1570, 2.2010),
    ("pocock", 5): (2.4380, 2.4268, 2.4101, 2.3966, 2.3859),
}
POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555}
"""Jennison, Turnbull, table 2.1, alpha .05."""
OBRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087}
"""Jennison, Turnbull, table 2.3, alpha .05."""


@pytest.mark.parametrize(("spending", "looks"), LAN_DEMETS)
def test_bounds_equal_the_published_tables(spending: Spending, looks: int) -> None:
    fractions = tuple(look / looks for look in range(1, looks + 1))
    assert bounds(fractions, 0.05, spending) == pytest.approx(LAN_DEMETS[spending, looks], abs=1e-3)


@pytest.mark.parametrize("looks", POCOCK)
def test_the_recursion_gives_alpha_for_the_constants_of_jennison_and_turnbull(looks: int) -> None:
    fractions = [look / looks for look in range(1, looks + 1)]
    flat = sum(crossing_probabilities([POCOCK[looks]] * looks, fractions))
    rising = [OBRIEN_FLEMING[looks] / np.sqrt(fraction) for fraction in fractions]
    assert flat == pytest.approx(0.05, abs=2e-4)
    assert sum(crossing_probabilities(rising, fractions)) == pytest.approx(0.05, abs=2e-4)


def test_a_single_look_is_the_ordinary_test() -> None:
    assert bounds((1.0,), 0.05, "obrien_fleming")[0] == pytest.approx(stats.norm.ppf(0.975), abs=1e-9)
    assert p_value(2.2, (1.0,), "pocock") == pytest.approx(2 * stats.norm.sf(2.2), rel=1e-5)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_all_of_alpha_is_spent_over_a_hundred_looks(spending: Spending) -> None:
    fractions = tuple(look / 100 for look in range(1, 101))
    found = bounds(fractions, 0.05, spending)
    assert sum(crossing_probabilities(found, fractions)) == pytest.approx(0.05, abs=1e-5)
    assert alpha_spent(1.0, 0.05, spending) == pytest.approx(0.05)


def test_bounds_hold_in_simulated_paths() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100_000, 5)).cumsum(axis=1) / np.sqrt(np.arange(1, 6))
    limits = bounds((0.2, 0.4, 0.6, 0.8, 1.0), 0.05, "pocock")
    assert (np.abs(z) >= limits).any(axis=1).mean() == pytest.approx(0.05, abs=0.003)


def test_a_p_value_is_alpha_exactly_at_the_bound() -> None:
    fractions = (0.2, 0.4, 0.6)
    bound = bounds(fractions, 0.05, "obrien_fleming")[-1]
    assert p_value(bound, fractions, "obrien_fleming") == pytest.approx(0.05, rel=1e-5)
    assert p_value(-bound - 0.5, fractions, "obrien_fleming") < 0.05
    assert p_value(0.0, fractions, "obrien_fleming") == 1.0
    assert p_value(40.0, (1.0,), "pocock") <= 1e-15
