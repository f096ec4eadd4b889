import threading
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.config import StateConfig
from recsys.influence import refused
from recsys.item_state import ItemState, tick_of
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from tests.recsys.small_catalogue import HOUR_MS, NOW, Event, events_frame, greengrocer

CATALOGUE = greengrocer()
CONFIG = StateConfig(half_lives_days=(1.0, 8.0), tick=timedelta(hours=1))
PURCHASE, VIEW, DISLIKE = (EVENT_TYPE_CODES[name] for name in ("purchase", "view", "dislike"))
APPLE, LEEK = CATALOGUE.positions(["apple-1", "leek"]).tolist()
EVENTS = st.lists(
    st.tuples(
        st.just("u"),
        st.sampled_from(["apple-1", "leek", "not in the catalogue"]),
        st.sampled_from(["purchase", "view", "dislike", "impression"]),
        st.integers(NOW - 5 * DAY_MS, NOW - 1),
    ),
    max_size=30,
)


def recorded(events: list[Event], as_of_ms: int | None = None) -> ItemState:
    """The state after events were recorded one by one; with ``as_of_ms``, asked before each of them."""
    state = ItemState(CATALOGUE, CONFIG, tick_of(NOW - 6 * DAY_MS, CONFIG))
    for _, item_id, name, time_ms in events:
        if as_of_ms is not None:
            state.popularity(min(time_ms, as_of_ms))
        if item_id in CATALOGUE.position:
            state.record(CATALOGUE.position[item_id], EVENT_TYPE_CODES[name], time_ms)
    return state


def test_a_tick_is_the_last_completed_multiple_of_the_duration() -> None:
    assert tick_of(NOW, CONFIG) == NOW
    assert tick_of(NOW + HOUR_MS - 1, CONFIG) == NOW
    assert tick_of(NOW - 1, CONFIG) == NOW - HOUR_MS


def test_an_event_counts_from_the_tick_after_it() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW)
    state.record(APPLE, PURCHASE, NOW + 10)
    assert not state.popularity(NOW + HOUR_MS - 1).engagement.any()
    later = state.popularity(NOW + HOUR_MS).engagement
    # its age at that tick is an hour less 10 ms
    assert later[0, APPLE] == pytest.approx(2 ** (-(HOUR_MS - 10) / DAY_MS))
    assert np.count_nonzero(later) == 2


def test_an_event_on_a_tick_is_not_visible_at_that_tick() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW - HOUR_MS)
    state.record(APPLE, PURCHASE, NOW)
    assert not state.popularity(NOW).engagement.any()
    assert state.popularity(NOW + HOUR_MS).engagement[1, APPLE] == pytest.approx(2 ** (-1 / 24 / 8))


def test_between_ticks_nothing_decays() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW)
    state.record(APPLE, PURCHASE, NOW + 10)
    first = state.popularity(NOW + HOUR_MS).engagement.copy()
    assert np.array_equal(state.popularity(NOW + 2 * HOUR_MS - 1).engagement, first)
    assert np.allclose(
        state.popularity(NOW + HOUR_MS + DAY_MS).engagement[:, APPLE], first[:, APPLE] * [0.5, 0.5 ** (1 / 8)]
    )


def test_a_late_event_counts_by_its_age_from_the_next_tick() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW)
    state.popularity(NOW)
    state.record(APPLE, PURCHASE, NOW - DAY_MS)
    assert not state.popularity(NOW + 1).engagement.any()
    assert state.popularity(NOW + DAY_MS).engagement[0, APPLE] == pytest.approx(0.25)


def test_time_does_not_run_backwards() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW - HOUR_MS)
    state.record(APPLE, PURCHASE, NOW - 1)
    now = state.popularity(NOW).engagement.copy()
    assert np.array_equal(state.popularity(NOW - DAY_MS).engagement, now)
    assert np.array_equal(
        ItemState(CATALOGUE, CONFIG, NOW).popularity(NOW - DAY_MS).engagement, np.zeros_like(now)
    )


def test_events_weigh_by_type_and_a_dislike_takes_away() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW - HOUR_MS)
    for kind in (PURCHASE, VIEW, VIEW, DISLIKE, EVENT_TYPE_CODES["impression"]):
        state.record(LEEK, kind, NOW - HOUR_MS)
    decay = 2 ** (-1 / 24)
    assert state.popularity(NOW).engagement[0, LEEK] == pytest.approx((1.0 + 2 * 0.1 - 1.0) * decay)


def test_what_was_handed_out_does_not_change_later() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW - HOUR_MS)
    state.record(APPLE, PURCHASE, NOW - 1)
    held = state.popularity(NOW).engagement
    before = held.copy()
    state.record(APPLE, PURCHASE, NOW + 1)
    state.popularity(NOW + DAY_MS)
    assert np.array_equal(held, before)


def test_a_sum_too_small_to_matter_becomes_zero() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW - HOUR_MS)
    state.record(APPLE, PURCHASE, NOW - 1)
    state.popularity(NOW)
    assert state.popularity(NOW + 41 * DAY_MS).engagement[:, APPLE].tolist() == [
        0.0,
        pytest.approx(2 ** (-41 / 8)),
    ]


@settings(deadline=None)
@given(events=EVENTS, minutes=st.integers(0, 180))
def test_the_log_gives_what_recording_one_by_one_gives(events: list[Event], minutes: int) -> None:
    as_of_ms = NOW - 90 * 60_000 + minutes * 60_000
    from_log = ItemState.from_events(CATALOGUE, CONFIG, events_frame(events), as_of_ms)
    gone = set(refused(events_frame(events), CONFIG))
    visible = [event for i, event in enumerate(events) if event[3] < as_of_ms and f"{i:09d}" not in gone]
    in_order = sorted(visible, key=lambda event: event[3])
    for state in (recorded(in_order), recorded(in_order, as_of_ms)):
        np.testing.assert_allclose(
            from_log.popularity(as_of_ms).engagement, state.popularity(as_of_ms).engagement, atol=1e-11
        )
        later = as_of_ms + 2 * HOUR_MS
        np.testing.assert_allclose(
            from_log.popularity(later).engagement, state.popularity(later).engagement, atol=1e-11
        )
        from_log = ItemState.from_events(CATALOGUE, CONFIG, events_frame(events), as_of_ms)


def test_the_log_is_read_strictly_before_the_moment() -> None:
    events = events_frame([("u", "apple-1", "purchase", NOW), ("u", "apple-1", "purchase", NOW + 1)])
    state = ItemState.from_events(CATALOGUE, CONFIG, events, NOW)
    assert not state.popularity(NOW + DAY_MS).engagement.any()
    state = ItemState.from_events(CATALOGUE, CONFIG, events, NOW + 1)
    assert state.popularity(NOW + DAY_MS).engagement[0, APPLE] == pytest.approx(0.5)


def test_an_empty_log_gives_zeros() -> None:
    found = ItemState.from_events(CATALOGUE, CONFIG, events_frame([]), NOW).popularity(NOW).engagement
    assert found.shape == (2, len(CATALOGUE))
    assert not found.any()


def test_several_threads_lose_no_event() -> None:
    state = ItemState(CATALOGUE, CONFIG, NOW)
    failures: list[Exception] = []

    def work(thread: int) -> None:
        try:
            for i in range(300):
                state.record(thread, PURCHASE, NOW + i)
                state.popularity(NOW + i * HOUR_MS // 30)
        except (RuntimeError, ValueError, IndexError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    end = NOW + 11 * HOUR_MS
    expected = sum(2.0 ** (-(end - NOW - i) / DAY_MS) for i in range(300))
    assert state.popularity(end).engagement[0, :4].tolist() == pytest.approx([expected] * 4, rel=1e-9)
