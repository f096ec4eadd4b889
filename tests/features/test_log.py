import pytest

from features.log import POSITION, TIME, require_fitted_before
from recsys.config import Config, StateConfig
from recsys.errors import LeakageError
from recsys.schema import DAY_MS, EVENT_TYPE, EVENT_TYPE_CODES, QUERY_ID
from tests.features.small_log import APPLE, BREAD, CUP, ITEM_IDS, offline_log
from tests.recsys.small_catalogue import NOW, Event

BUY = ("ann", APPLE, "purchase")


def test_impressions_and_weighted_events_before_the_latest_query_are_kept() -> None:
    events: list[Event] = [
        (*BUY, NOW - 1),
        (*BUY, NOW),
        ("ann", BREAD, "impression", NOW - DAY_MS),
        ("bob", CUP, "dislike", NOW - DAY_MS),
    ]
    kept = offline_log(events, [("ann", NOW), ("ann", NOW - 5)]).events
    assert sorted(kept.select(POSITION, TIME).rows()) == [(0, NOW - 1), (1, NOW - DAY_MS), (2, NOW - DAY_MS)]


def test_each_query_sees_its_own_users_past_alone() -> None:
    events: list[Event] = [
        (*BUY, NOW - DAY_MS),
        (*BUY, NOW - 3 * DAY_MS),
        ("bob", CUP, "view", NOW - 3 * DAY_MS),
    ]
    visible = offline_log(
        events, [("ann", NOW), ("ann", NOW - 2 * DAY_MS), ("bob", NOW), ("eve", NOW)]
    ).visible()
    assert sorted(visible.collect()[QUERY_ID].to_list()) == [0, 0, 1, 2]


def test_a_row_holds_the_sums_at_the_query_and_at_its_last_event() -> None:
    events: list[Event] = [(*BUY, NOW - days * DAY_MS) for days in (3, 1)]
    row = offline_log(events, [("ann", NOW)]).rows().collect().row(0, named=True)
    assert [row["s0"], row["s1"], row["l0"], row["l1"]] == pytest.approx(
        [0.625, 2**-0.5 + 2**-1.5, 1.25, 1.5]
    )
    assert (row["first_ms"], row["last_ms"], row["count"]) == (NOW - 3 * DAY_MS, NOW - DAY_MS, 2)
    assert row[EVENT_TYPE] == EVENT_TYPE_CODES["purchase"]


@pytest.mark.parametrize(("age_ms", "num_rows"), [(30 * DAY_MS, 1), (30 * DAY_MS + 1, 0)])
def test_a_pair_expires_max_age_after_its_last_event(age_ms: int, num_rows: int) -> None:
    events: list[Event] = [(*BUY, NOW - age_ms), (*BUY, NOW - 40 * DAY_MS)]
    log = offline_log(events, [("ann", NOW)])
    assert log.rows().collect().height == num_rows
    assert log.baskets().collect().height == num_rows


def test_an_old_event_of_a_living_pair_still_counts() -> None:
    events: list[Event] = [(*BUY, NOW - DAY_MS), (*BUY, NOW - 35 * DAY_MS)]
    row = offline_log(events, [("ann", NOW)]).rows().collect().row(0, named=True)
    assert row["count"] == 2
    assert row["s2"] == pytest.approx(2 ** (-1 / 4) + 2 ** (-35 / 4))


def test_a_sum_too_small_to_matter_is_zero() -> None:
    config = Config(state=StateConfig(half_lives_days=(0.5, 4.0), max_age_days=30.0))
    events: list[Event] = [
        ("ann", item_id, "view", NOW - days * DAY_MS) for item_id, days in ((APPLE, 19), (BREAD, 20))
    ]
    rows = offline_log(events, [("ann", NOW)], config).rows().sort(POSITION).collect()
    assert rows["s0"].to_list() == [2.0**-38, 0.0]
    assert rows["s1"].to_list() == pytest.approx([2**-4.75, 2**-5])


def test_baskets_are_distinct_purchase_times() -> None:
    events: list[Event] = [
        (*BUY, NOW - DAY_MS),
        ("ann", BREAD, "purchase", NOW - DAY_MS),
        ("ann", BREAD, "click", NOW - 2 * DAY_MS),
    ]
    assert offline_log(events, [("ann", NOW)]).baskets().collect()[TIME].to_list() == [NOW - DAY_MS]


def test_popularity_is_computed_once_per_tick() -> None:
    minute = 60_000
    events: list[Event] = [("bob", APPLE, "purchase", NOW - DAY_MS), ("bob", BREAD, "purchase", NOW + minute)]
    log = offline_log(events, [("ann", NOW + 9 * minute), ("bob", NOW), ("eve", NOW + 25 * minute)])
    assert log.ticks() == [NOW, NOW + 20 * minute]
    assert dict(log.query_ticks().collect().iter_rows()) == {0: NOW, 1: NOW, 2: NOW + 20 * minute}
    rows = {(tick, item): e0 for item, e0, _, _, tick in log.item_rows().collect().iter_rows()}
    apple, bread = ITEM_IDS.index(APPLE), ITEM_IDS.index(BREAD)
    assert rows[NOW, apple] == 0.5
    assert rows.keys() == {(NOW, apple), (NOW + 20 * minute, apple), (NOW + 20 * minute, bread)}


def test_a_part_fitted_up_to_the_moment_may_be_used_and_a_later_one_not() -> None:
    require_fitted_before("encoder", NOW, NOW)
    with pytest.raises(LeakageError, match="encoder"):
        require_fitted_before("encoder", NOW + 1, NOW)
