from datetime import UTC, datetime

from recsys.config import StateConfig
from recsys.schema import DAY_MS
from serving.diagnosis.history import UserHistory, item_history, recent_users, user_history
from tests.recsys.small_catalogue import HOUR_MS, NOW, Event, events_frame, greengrocer

CONFIG = StateConfig(max_age_days=100)
EVENTS: list[Event] = [
    ("ann", "leek", "purchase", NOW - 101 * DAY_MS),
    ("ann", "kale", "view", NOW - 200 * DAY_MS),
    ("ann", "kale", "view", NOW - 99 * DAY_MS),
    ("ann", "kale", "purchase", NOW - 3 * HOUR_MS),
    ("ann", "gone", "purchase", NOW - 2 * HOUR_MS),
    ("ann", "beet", "impression", NOW - HOUR_MS),
    ("ann", "beet", "purchase", NOW),
    ("bob", "kale", "purchase", NOW - 1),
    ("cat", "kale", "dislike", NOW - 2 * HOUR_MS),
]


def utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def of(user_id: str) -> UserHistory:
    return user_history(events_frame(EVENTS), user_id, greengrocer(), CONFIG, NOW)


def test_a_users_events_are_counted_as_they_are_read() -> None:
    """Rows: leek (expired), kale seen and bought, gone (unknown), beet shown (no weight); NOW is late."""
    assert of("ann") == UserHistory(
        events={"purchase": 3, "view": 2, "impression": 1},
        last_event_time=utc(NOW - HOUR_MS),
        num_items=4,
        num_unknown_items=1,
        num_rows=5,
        num_expired_rows=1,
        num_unweighted_events=1,
    )
    assert of("ann").num_events == 6


def test_a_user_without_events_has_a_history_of_nothing() -> None:
    assert of("nobody") == UserHistory({}, None, 0, 0, 0, 0, 0)


def test_an_items_events_are_counted_over_everybody_and_nobody_is_named() -> None:
    found = item_history(events_frame(EVENTS), "kale", NOW)
    assert found.events == {"purchase": 2, "view": 2, "dislike": 1}
    assert (found.last_event_time, found.num_users) == (utc(NOW - 1), 3)
    assert "ann" not in repr(found)
    assert item_history(events_frame(EVENTS), "radish", NOW).num_users == 0


def test_recent_users_are_those_whose_last_event_is_newest() -> None:
    events = events_frame([*EVENTS, ("abe", "leek", "view", NOW - 2 * HOUR_MS)])
    assert recent_users(events, NOW, 9) == ["bob", "ann", "abe", "cat"]
    assert recent_users(events, NOW, 2) == ["bob", "ann"]
    assert recent_users(events, NOW + 1, 1) == ["ann"]
