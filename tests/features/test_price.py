import math

import pytest

from features import price
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW, Event

LN2 = math.log(2)


def test_the_price_and_its_change_are_the_bundles() -> None:
    values = online_side(price, [])
    assert [values[item_id]["price"] for item_id in (APPLE, BREAD, DATE, EGG)] == [2, 3, 8, 0]
    assert [values[item_id]["price_change"] for item_id in (APPLE, BREAD)] == [1.5, 1]
    assert math.isnan(values[CUP]["price"])
    for item_id in (CUP, DATE, EGG):  # without a price, without recent ones, and for nothing
        assert math.isnan(values[item_id]["price_change"])


def test_the_level_is_against_the_middle_of_the_category() -> None:
    values = online_side(price, [])  # fruit costs 2 and 8: its middle, of the logarithms, is 4
    assert values[APPLE]["price_level"] == pytest.approx(-LN2)
    assert values[DATE]["price_level"] == pytest.approx(LN2)
    assert values[BREAD]["price_level"] == 0
    assert math.isnan(values[CUP]["price_level"])
    assert math.isnan(values[EGG]["price_level"])


def test_the_habit_is_the_mean_level_by_engagement() -> None:
    events: list[Event] = [
        ("ann", APPLE, "purchase", NOW - 4 * DAY_MS),
        ("ann", BREAD, "purchase", NOW - 8 * DAY_MS),
        ("ann", EGG, "purchase", NOW - DAY_MS),  # without a level
    ]
    values = online_side(price, events)
    habit = (0.5 * -LN2 + 0.25 * 0) / 0.75
    assert values[DATE]["price_from_habit"] == pytest.approx(LN2 - habit)
    assert values[BREAD]["price_from_habit"] == pytest.approx(-habit)
    assert math.isnan(values[CUP]["price_from_habit"])


@pytest.mark.parametrize("events", [[], [("ann", APPLE, "dislike", NOW - 1)]])
def test_without_a_liked_item_there_is_no_habit(events: list[Event]) -> None:
    for row in online_side(price, events).values():
        assert math.isnan(row["price_from_habit"])
