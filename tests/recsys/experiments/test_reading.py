from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from recsys.experiments.definition import Analysis
from recsys.experiments.group_sequential import alpha_spent, bounds
from recsys.experiments.look_book import Look
from recsys.experiments.reading import Reading, false_alarm, reading_of

FIVE = Analysis(method="group_sequential", expected_units=10_000, looks=5)


def look(units: int, verdict: str = "continue", **about: Any) -> Look:
    known = {"fraction": min(units / 10_000, 1.0), "alpha_spent": 0.01}
    return Look.model_validate(
        {"time": datetime(2026, 3, 1, tzinfo=UTC), "units": units, "verdict": verdict, **known, **about}
    )


def test_a_look_is_taken_at_planned_moments_with_the_share_that_was_reached() -> None:
    assert reading_of(FIVE, 1999, []) == Reading((), (), 2000)
    assert reading_of(FIVE, 2000, []) == Reading((), (0.2,), 4000)
    late = reading_of(FIVE, 4500, [look(2000)])
    assert late.fractions == (0.2, 0.45)
    assert late.next_units == 6000
    assert reading_of(FIVE, 12_000, [look(2000), look(4500)]).fractions == (0.2, 0.45, 1.0)


def test_a_planned_look_is_used_once_and_a_late_one_uses_those_before() -> None:
    assert reading_of(FIVE, 3999, [look(2000)]) == Reading((look(2000),), (), 4000)
    assert reading_of(FIVE, 5900, [look(4500)]).fractions == ()
    assert reading_of(FIVE, 6000, [look(4500)]).fractions == (0.45, 0.6)
    assert reading_of(FIVE, 9900, [look(9000)]).fractions == ()
    assert reading_of(FIVE, 4400, [look(4500)]).fractions == ()  # fewer units than the last time


def test_what_decided_and_the_last_look_are_repeated() -> None:
    assert reading_of(FIVE, 6000, [look(2000), look(4000, "ship")]).settled == look(4000, "ship")
    last = look(10_000)
    assert reading_of(FIVE, 10_500, [last]).settled == last
    assert reading_of(FIVE, 4000, [look(2000)]).settled is None
    once = Analysis(expected_units=10_000)
    assert reading_of(once, 10_500, [look(10_000, alpha_spent=None)]).settled is None
    assert reading_of(once, 10_500, [look(10_000, "stop", alpha_spent=None)]).settled is not None


def test_without_a_book_earlier_looks_are_taken_as_planned() -> None:
    assert reading_of(FIVE, 500).fractions == ()
    assert reading_of(FIVE, 4500).fractions == (0.2, 0.45)
    assert reading_of(FIVE, 20_000).fractions == (0.2, 0.4, 0.6, 0.8, 1.0)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_reading_at_any_moments_spends_no_more_than_alpha(spending: str) -> None:
    rng = np.random.default_rng(5)
    analysis = FIVE.model_copy(update={"spending": spending})
    units = [*np.sort(rng.choice(np.arange(300, 10_000), 40, replace=False)).tolist(), 10_000]
    steps = np.diff([0, *units]) / 10_000
    score = (rng.normal(size=(40_000, 41)) * np.sqrt(steps)).cumsum(axis=1)
    rejected, past, spent = np.zeros(40_000, np.bool_), list[Look](), [0.0]
    for number, reached in enumerate(units):
        reading = reading_of(analysis, reached, past)
        if not reading.fractions:
            continue
        past.append(look(reached))
        spent.append(alpha_spent(reading.fractions[-1], analysis.alpha, analysis.spending))
        z = score[:, number] / np.sqrt(reached / 10_000)
        rejected |= np.abs(z) >= bounds(reading.fractions, analysis.alpha, analysis.spending)[-1]
    assert len(past) == 5
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(0.05)
    assert rejected.mean() == pytest.approx(0.05, abs=0.0035)


def test_the_cost_of_reading_a_fixed_test_often_is_that_of_the_published_table() -> None:
    published = {1: 0.05, 2: 0.083, 3: 0.107, 5: 0.142, 10: 0.193, 20: 0.248}
    for readings, rate in published.items():
        units = [100 * number for number in range(1, readings + 1)]
        assert false_alarm(Analysis(), units) == pytest.approx(rate, abs=6e-4)
