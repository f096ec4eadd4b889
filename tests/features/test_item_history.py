import math

import pytest

from features import item_history
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW


def test_each_half_life_has_the_items_first_timers_of_the_bundle() -> None:
    values = online_side(item_history, [])
    for number, item_id in enumerate((APPLE, BREAD, CUP, DATE, EGG)):
        rates = [values[item_id][f"adoption_{days}d"] for days in (1, 2, 4)]
        assert rates == [number, 10 + number, 20 + number]


def test_newcomers_are_counted_by_the_middle_half_life() -> None:
    values = online_side(item_history, [])
    assert [values[item_id]["newcomers_2d"] for item_id in (APPLE, EGG)] == [110, 114]


def test_users_age_rebuys_and_gap_are_the_bundles() -> None:
    values = online_side(item_history, [])
    names = ("item_users", "item_age_days", "item_rebuy_rate", "item_gap_days")
    assert [values[APPLE][name] for name in names] == [8, 40, 0.5, 4]
    assert [values[BREAD][name] for name in names] == [4, 30, 0.25, 8]
    assert values[EGG]["item_users"] == 0
    assert all(math.isnan(values[EGG][name]) for name in names[1:])


def test_an_item_is_due_when_its_usual_gap_has_passed() -> None:
    events = [("ann", item_id, "purchase", NOW - 6 * DAY_MS) for item_id in (APPLE, BREAD, CUP)]
    events.append(("ann", APPLE, "view", NOW - 2 * DAY_MS))
    values = online_side(item_history, events)
    assert values[APPLE]["item_due"] == 0.5
    assert values[BREAD]["item_due"] == 0.75
    assert math.isnan(values[CUP]["item_due"])  # nobody comes back to it
    assert math.isnan(values[DATE]["item_due"])  # the user never had it


@pytest.mark.parametrize("item_id", [APPLE, EGG])
def test_nothing_is_due_for_somebody_unknown(item_id: str) -> None:
    assert math.isnan(online_side(item_history, [])[item_id]["item_due"])
