import numpy as np

from features.moments import offline_moments, offline_states
from recsys.item_state import ItemState
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from tests.features.small_log import APPLE, BREAD, CATALOGUE, CONFIG, CUP, hand_made_parts, offline_log
from tests.recsys.small_catalogue import NOW, Event, events_frame, state_of

EVENTS: list[Event] = [
    ("ann", APPLE, "purchase", NOW - 5 * DAY_MS),
    ("ann", APPLE, "purchase", NOW - 2 * DAY_MS),
    ("ann", BREAD, "view", NOW - 2 * DAY_MS),
    ("ann", CUP, "impression", NOW - DAY_MS),
    ("bob", CUP, "purchase", NOW - DAY_MS),
]


def test_a_state_read_off_the_log_is_the_state_applied_event_by_event() -> None:
    states = offline_states(offline_log(EVENTS, [("ann", NOW), ("bob", NOW - 2 * DAY_MS)]))
    expected = state_of([event for event in EVENTS if event[0] == "ann"], CONFIG)
    found = states[0]
    assert found.item_ids == expected.item_ids
    assert found.event_types.tolist() == [
        EVENT_TYPE_CODES[name] for name in ("purchase", "view", "impression")
    ]
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-12)
    np.testing.assert_array_equal(found.first_ms, expected.first_ms)
    np.testing.assert_array_equal(found.last_ms, expected.last_ms)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.basket_ms, expected.basket_ms)


def test_a_user_without_events_has_no_state() -> None:
    assert offline_states(offline_log(EVENTS, [("bob", NOW - DAY_MS), ("eve", NOW)])) == {}


def test_a_state_survives_its_bytes() -> None:
    state = offline_states(offline_log(EVENTS, [("ann", NOW)]))[0]
    assert type(state).from_bytes(state.to_bytes()).item_ids == state.item_ids


def test_moments_come_in_order_of_time_with_the_popularity_of_their_own_tick() -> None:
    log = offline_log(EVENTS, [("ann", NOW), ("bob", NOW - DAY_MS), ("eve", NOW - DAY_MS)])
    moments = list(offline_moments(log, hand_made_parts(), events_frame(EVENTS)))
    assert [query_id for query_id, _ in moments] == [1, 2, 0]
    assert [moment.as_of_ms for _, moment in moments] == [NOW - DAY_MS, NOW - DAY_MS, NOW]
    for _, moment in moments:
        items = ItemState.from_events(CATALOGUE, CONFIG.state, events_frame(EVENTS), moment.as_of_ms)
        np.testing.assert_allclose(
            moment.popularity.engagement, items.popularity(moment.as_of_ms).engagement, rtol=1e-12
        )
    assert [len(moment.user.positions) for _, moment in moments] == [0, 0, 2]
