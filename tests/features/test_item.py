import math

import pytest

from features import item
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, both_sides
from tests.recsys.small_catalogue import NOW

MINUTE_MS = 60_000


def test_popularity_is_everybodys_weighted_events() -> None:
    events = [
        ("ann", APPLE, "purchase", NOW - DAY_MS),
        ("bob", APPLE, "purchase", NOW - 3 * DAY_MS),
        ("eve", APPLE, "click", NOW - 2 * DAY_MS),
        ("eve", APPLE, "impression", NOW - DAY_MS),
    ]
    apple = both_sides(item, events)[APPLE]
    assert apple["item_1d"] == pytest.approx(0.5 + 0.125 + 0.3 * 0.25)
    assert apple["item_4d"] == pytest.approx(2**-0.25 + 2**-0.75 + 0.3 * 2**-0.5)
    assert apple["item_trend"] == pytest.approx(apple["item_1d"] / apple["item_4d"])


def test_a_share_is_of_the_items_own_category() -> None:
    events = [
        ("bob", APPLE, "purchase", NOW - 2 * DAY_MS),
        ("bob", APPLE, "purchase", NOW - 2 * DAY_MS),
        ("eve", DATE, "purchase", NOW - 4 * DAY_MS),
        ("eve", CUP, "purchase", NOW - DAY_MS),
    ]
    values = both_sides(item, events)
    assert values[APPLE]["item_category_share"] == pytest.approx(0.8)
    assert values[DATE]["item_category_share"] == pytest.approx(0.2)
    assert math.isnan(values[CUP]["item_category_share"])
    assert math.isnan(values[BREAD]["item_category_share"])


def test_an_item_nobody_touched_has_no_trend() -> None:
    bread = both_sides(item, [("bob", APPLE, "purchase", NOW - DAY_MS)])[BREAD]
    assert bread["item_1d"] == 0
    assert math.isnan(bread["item_trend"])


def test_an_event_counts_from_the_tick_after_it() -> None:
    events = [("bob", APPLE, "purchase", NOW + MINUTE_MS)]
    before, after = (
        both_sides(item, events, as_of_ms=NOW + minutes * MINUTE_MS)[APPLE] for minutes in (9, 10)
    )
    assert before["item_1d"] == 0
    assert after["item_1d"] == pytest.approx(2 ** (-9 / (24 * 60)))


def test_between_ticks_popularity_stands_still() -> None:
    events = [("bob", APPLE, "purchase", NOW - DAY_MS)]
    at_the_tick, later = (
        both_sides(item, events, as_of_ms=NOW + minutes * MINUTE_MS)[APPLE] for minutes in (0, 9)
    )
    assert at_the_tick == later
    assert later["item_1d"] == 0.5
