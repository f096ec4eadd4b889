import math

import pytest

from features import user
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, both_sides
from tests.recsys.small_catalogue import NOW


def test_a_user_is_the_same_for_every_item() -> None:
    values = both_sides(
        user, [("ann", APPLE, "purchase", NOW - DAY_MS), ("ann", CUP, "view", NOW - 2 * DAY_MS)]
    )
    assert len({tuple(row.values())[:3] for row in values.values()}) == 1
    assert values[BREAD]["user_2d"] == pytest.approx(2**-0.5 + 0.1 * 0.5)


def test_things_bought_at_one_time_are_one_basket() -> None:
    events = [
        ("ann", APPLE, "purchase", NOW - 2 * DAY_MS),
        ("ann", BREAD, "purchase", NOW - 2 * DAY_MS),
        ("ann", APPLE, "purchase", NOW - 5 * DAY_MS),
        ("ann", DATE, "purchase", NOW - 10 * DAY_MS),
    ]
    row = both_sides(user, events)[APPLE]
    assert row["user_baskets"] == 3
    assert row["user_recency_days"] == 2
    assert row["user_cadence_days"] == 4


def test_looking_is_not_buying() -> None:
    row = both_sides(
        user, [("ann", APPLE, "view", NOW - DAY_MS), ("ann", APPLE, "purchase", NOW - 3 * DAY_MS)]
    )[APPLE]
    assert row["user_baskets"] == 1
    assert row["user_recency_days"] == 3
    assert math.isnan(row["user_cadence_days"])


def test_a_user_without_events_has_zeros_and_no_times() -> None:
    row = both_sides(user, [("bob", APPLE, "purchase", NOW - DAY_MS)])[APPLE]
    assert [row["user_2d"], row["user_baskets"]] == [0, 0]
    assert math.isnan(row["user_recency_days"])


def test_a_basket_is_forgotten_after_max_age() -> None:
    row = both_sides(user, [("ann", APPLE, "purchase", NOW - days * DAY_MS) for days in (10, 30, 31)])[APPLE]
    assert row["user_baskets"] == 2
    assert row["user_cadence_days"] == 20


def test_items_age_and_novelty_are_of_the_history_that_is_left() -> None:
    old, now_and_then = NOW - 60 * DAY_MS, NOW - 20 * DAY_MS
    events = [
        ("ann", APPLE, "purchase", old),  # an old acquaintance, seen again lately
        ("ann", APPLE, "view", NOW - 2 * DAY_MS),
        ("ann", APPLE, "purchase", now_and_then),
        ("ann", BREAD, "purchase", old),  # forgotten
        ("ann", CUP, "click", now_and_then),
        ("ann", DATE, "dislike", NOW - DAY_MS),
    ]
    row = both_sides(user, events)[APPLE]
    assert row["user_items"] == 3
    assert row["user_age_days"] == 60
    assert row["user_new_share"] == pytest.approx(2 / 3)


def test_somebody_unknown_has_no_items_and_no_age() -> None:
    row = both_sides(user, [("bob", APPLE, "purchase", NOW - DAY_MS)])[APPLE]
    assert row["user_items"] == 0
    assert math.isnan(row["user_age_days"])
    assert math.isnan(row["user_new_share"])
