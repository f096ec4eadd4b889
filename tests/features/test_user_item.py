import math

import pytest

from features import user_item
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, both_sides
from tests.recsys.small_catalogue import NOW


def test_sums_decay_with_each_half_life_and_types_are_weighted() -> None:
    events = [
        ("ann", APPLE, "purchase", NOW - DAY_MS),
        ("ann", APPLE, "purchase", NOW - 3 * DAY_MS),
        ("ann", APPLE, "view", NOW - 2 * DAY_MS),
    ]
    apple = both_sides(user_item, events)[APPLE]
    assert apple["user_item_1d"] == pytest.approx(0.5 + 0.125 + 0.1 * 0.25)
    assert apple["user_item_2d"] == pytest.approx(2**-0.5 + 2**-1.5 + 0.1 * 0.5)
    assert apple["user_item_4d"] == pytest.approx(2**-0.25 + 2**-0.75 + 0.1 * 2**-0.5)


def test_count_recency_cadence_and_due_follow_the_times() -> None:
    events = [("ann", APPLE, "purchase", NOW - days * DAY_MS) for days in (3, 5, 9)]
    apple = both_sides(user_item, events)[APPLE]
    assert apple["user_item_count"] == 3
    assert apple["user_item_recency_days"] == 3
    assert apple["user_item_cadence_days"] == 3
    assert apple["user_item_due"] == 1


def test_an_item_never_touched_has_zero_sums_and_no_times() -> None:
    values = both_sides(
        user_item, [("ann", APPLE, "purchase", NOW - DAY_MS), ("bob", CUP, "purchase", NOW - DAY_MS)]
    )
    for item_id in (BREAD, CUP):
        row = values[item_id]
        assert [row["user_item_1d"], row["user_item_4d"], row["user_item_count"]] == [0, 0, 0]
        assert math.isnan(row["user_item_recency_days"])
        assert math.isnan(row["user_item_cadence_days"])
        assert math.isnan(row["user_item_due"])


def test_one_event_has_a_recency_but_no_cadence() -> None:
    apple = both_sides(user_item, [("ann", APPLE, "purchase", NOW - 2 * DAY_MS)])[APPLE]
    assert apple["user_item_recency_days"] == 2
    assert math.isnan(apple["user_item_cadence_days"])
    assert math.isnan(apple["user_item_due"])


def test_a_dislike_pulls_the_sum_below_zero_and_is_not_counted() -> None:
    events = [("ann", APPLE, "dislike", NOW - DAY_MS), ("ann", APPLE, "view", NOW - DAY_MS)]
    apple = both_sides(user_item, events)[APPLE]
    assert apple["user_item_1d"] == pytest.approx(-0.5 + 0.05)
    assert apple["user_item_count"] == 1
    assert apple["user_item_recency_days"] == 1


def test_events_at_one_time_count_each_but_have_no_cadence_to_be_due_by() -> None:
    apple = both_sides(user_item, [("ann", APPLE, "purchase", NOW - DAY_MS)] * 2)[APPLE]
    assert apple["user_item_1d"] == 1
    assert apple["user_item_count"] == 2
    assert apple["user_item_cadence_days"] == 0
    assert math.isnan(apple["user_item_due"])


def test_share_is_of_all_that_the_user_did_by_the_middle_half_life() -> None:
    events = [
        ("ann", APPLE, "purchase", NOW - 2 * DAY_MS),
        ("ann", BREAD, "purchase", NOW - 4 * DAY_MS),
        ("ann", BREAD, "purchase", NOW - 4 * DAY_MS),
        ("bob", CUP, "purchase", NOW - DAY_MS),
    ]
    values = both_sides(user_item, events)
    assert values[APPLE]["user_item_share"] == pytest.approx(0.5)
    assert values[BREAD]["user_item_share"] == pytest.approx(0.5)
    assert values[CUP]["user_item_share"] == 0


def test_dislikes_take_nothing_from_the_whole() -> None:
    events = [("ann", APPLE, "purchase", NOW - 2 * DAY_MS), ("ann", CUP, "dislike", NOW - 2 * DAY_MS)]
    values = both_sides(user_item, events)
    assert values[APPLE]["user_item_share"] == pytest.approx(1)
    assert values[CUP]["user_item_share"] == pytest.approx(-1)
    only = both_sides(user_item, [("ann", CUP, "dislike", NOW - 2 * DAY_MS)])
    assert only[CUP]["user_item_share"] == 0


def test_the_rate_is_per_decayed_day_since_the_users_first_event() -> None:
    events = [("ann", APPLE, "purchase", NOW - 4 * DAY_MS), ("ann", BREAD, "purchase", NOW - 8 * DAY_MS)]
    values = both_sides(user_item, events)
    decayed_days = 4 / math.log(2) * (1 - 2 ** (-8 / 4))  # 2^(-t/4) summed over eight days
    assert values[APPLE]["user_item_rate"] == pytest.approx(0.5 / decayed_days)
    assert values[BREAD]["user_item_rate"] == pytest.approx(0.25 / decayed_days)
    assert values[CUP]["user_item_rate"] == 0


def test_a_user_is_known_for_a_day_at_least() -> None:
    apple = both_sides(user_item, [("ann", APPLE, "purchase", NOW - 1)])[APPLE]
    assert apple["user_item_rate"] == pytest.approx(1 / (4 / math.log(2) * (1 - 2 ** (-1 / 4))))


def test_the_age_runs_from_the_first_event_with_the_item() -> None:
    events = [("ann", APPLE, "view", NOW - 9 * DAY_MS), ("ann", APPLE, "purchase", NOW - 3 * DAY_MS)]
    values = both_sides(user_item, events)
    assert values[APPLE]["user_item_age_days"] == 9
    assert math.isnan(values[BREAD]["user_item_age_days"])


def test_due_by_the_users_own_visits() -> None:
    days = (10, 6, 2)  # every 4 days somebody's basket
    events = [("ann", APPLE if d == 10 else BREAD, "purchase", NOW - d * DAY_MS) for d in days]
    values = both_sides(user_item, events)
    assert values[APPLE]["user_item_visits"] == pytest.approx(10 / 4)
    assert values[BREAD]["user_item_visits"] == pytest.approx(2 / 4)
    assert math.isnan(values[CUP]["user_item_visits"])
    once = both_sides(user_item, [("ann", APPLE, "purchase", NOW - DAY_MS)])
    assert math.isnan(once[APPLE]["user_item_visits"])
