import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from recsys.user_state import UserState, recent_rows

PURCHASE = EVENT_TYPE_CODES["purchase"]
VIEW = EVENT_TYPE_CODES["view"]
HALF_LIVES = (1.0, 7.0)
NOW = 1_700_000_000_000

Event = tuple[str, int, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "ü"]),
        st.sampled_from([VIEW, PURCHASE]),
        st.integers(NOW - 40 * DAY_MS, NOW),
    ),
    max_size=30,
)


def state_of(events: list[Event], max_rows: int = 100) -> UserState:
    state = UserState(HALF_LIVES)
    for item_id, event_type, time_ms in events:
        state.apply(item_id, event_type, time_ms, is_purchase=event_type == PURCHASE, max_rows=max_rows)
    return state


def rows_of(state: UserState) -> dict[tuple[str, int], tuple[float, ...]]:
    keys = zip(state.item_ids, state.event_types.tolist(), strict=True)
    return dict(zip(keys, map(tuple, state.decayed(NOW).tolist()), strict=True))


@given(events=EVENTS)
def test_any_order_of_events_gives_the_sum_of_their_decays(events: list[Event]) -> None:
    expected: dict[tuple[str, int], list[float]] = {}
    for item_id, event_type, time_ms in events:
        sums = expected.setdefault((item_id, event_type), [0.0, 0.0])
        for i, half_life in enumerate(HALF_LIVES):
            sums[i] += 2.0 ** (-(NOW - time_ms) / DAY_MS / half_life)
    expected = {key: [value if value >= 1e-12 else 0.0 for value in sums] for key, sums in expected.items()}
    for ordered in (events, sorted(events, key=lambda event: event[2]), events[::-1]):
        found = rows_of(state_of(ordered))
        assert found.keys() == expected.keys()
        for key, sums in expected.items():
            assert found[key] == pytest.approx(sums, rel=1e-9, abs=2e-12)


@given(events=EVENTS)
def test_times_counts_and_baskets_do_not_depend_on_the_order(events: list[Event]) -> None:
    state, backwards = state_of(events), state_of(events[::-1])
    assert state.basket_ms.tolist() == sorted({time for _, kind, time in events if kind == PURCHASE})
    assert state.basket_ms.tolist() == backwards.basket_ms.tolist()
    for row, key in enumerate(zip(state.item_ids, state.event_types.tolist(), strict=True)):
        times = [time for item_id, kind, time in events if (item_id, kind) == key]
        assert (state.first_ms[row], state.last_ms[row], state.counts[row]) == (
            min(times),
            max(times),
            len(times),
        )
    assert state.latest_ms == max((time for _, _, time in events), default=0)


@given(events=EVENTS)
def test_bytes_round_trip(events: list[Event]) -> None:
    state = state_of(events)
    state.applied_sequence = 42
    again = UserState.from_bytes(state.to_bytes())
    assert again.to_bytes() == state.to_bytes()
    assert again.applied_sequence == 42
    assert again.half_lives_days == HALF_LIVES
    assert rows_of(again) == rows_of(state)
    again.apply("new", VIEW, NOW, is_purchase=False, max_rows=100)
    assert again.num_rows == state.num_rows + 1


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_body_is_noticed(position: int, bit: int) -> None:
    raw = bytearray(state_of([("a", VIEW, NOW), ("b", PURCHASE, NOW - 5)]).to_bytes())
    header = 32
    raw[header + position % (len(raw) - header)] ^= 1 << bit
    with pytest.raises(StoreError):
        UserState.from_bytes(bytes(raw))


def test_short_bytes_and_another_version_are_refused() -> None:
    raw = state_of([("a", VIEW, NOW)]).to_bytes()
    for damaged in (b"", raw[:10], raw[:-1], raw + b"\0", bytes([99]) + raw[1:]):
        with pytest.raises(StoreError):
            UserState.from_bytes(damaged)


def test_one_half_life_halves_the_sum() -> None:
    state = state_of([("a", VIEW, NOW - DAY_MS)])
    assert state.decayed(NOW).tolist() == [[0.5, 2 ** (-1 / 7)]]


def test_a_sum_too_small_to_matter_is_zero() -> None:
    state = state_of([("a", VIEW, NOW - 40 * DAY_MS)])
    assert state.decayed(NOW)[0, 0] == 0.0
    assert state.decayed(NOW)[0, 1] > 0.0


def test_rows_and_baskets_expire_after_the_maximal_age() -> None:
    config = StateConfig(max_age_days=10)
    old, edge, new = NOW - 10 * DAY_MS - 1, NOW - 10 * DAY_MS, NOW
    state = state_of([("old", PURCHASE, old), ("edge", PURCHASE, edge), ("new", VIEW, new)])
    live = state.live(NOW, config)
    assert live.item_ids == ["edge", "new"]
    assert live.basket_ms.tolist() == [edge]
    assert live.live(NOW, config) is live


def test_the_row_whose_last_event_is_oldest_makes_room() -> None:
    state = state_of(
        [("a", VIEW, NOW - 3), ("b", VIEW, NOW - 2), ("a", VIEW, NOW - 1), ("c", VIEW, NOW)], max_rows=2
    )
    assert sorted(state.item_ids) == ["a", "c"]
    assert np.asarray(state.sums).shape == (2, 2)


def test_recent_rows_are_distinct_items_newest_first_and_ties_go_by_item() -> None:
    items = np.asarray([7, 3, 7, 2, 9], np.int64)
    event_types = np.asarray([VIEW, PURCHASE, PURCHASE, VIEW, VIEW], np.uint8)
    last_ms = np.asarray([NOW - 5, NOW, NOW - 9, NOW - 5, NOW - 6], np.int64)
    rows = recent_rows(items, event_types, last_ms, 10)
    assert rows.tolist() == [1, 3, 0, 4]
    assert recent_rows(items, event_types, last_ms, 2).tolist() == [1, 3]


def test_of_two_event_types_at_one_time_the_first_code_stands_for_the_item() -> None:
    items, last_ms = np.asarray([4, 4], np.int64), np.asarray([NOW, NOW], np.int64)
    assert recent_rows(items, np.asarray([PURCHASE, VIEW], np.uint8), last_ms, 1).tolist() == [1]


@given(mine=EVENTS, theirs=EVENTS)
def test_merged_states_are_the_state_of_all_events(mine: list[Event], theirs: list[Event]) -> None:
    one, other = state_of(mine), state_of(theirs)
    one.applied_sequence, other.applied_sequence = 7, 9
    merged, expected = one.merged_with(other), state_of(sorted([*mine, *theirs], key=lambda event: event[2]))
    assert merged.applied_sequence == 7
    assert merged.basket_ms.tolist() == expected.basket_ms.tolist()
    ours, theirs_ = rows_of(merged), rows_of(expected)
    assert ours.keys() == theirs_.keys()
    for key, sums in theirs_.items():
        np.testing.assert_allclose(ours[key], sums, rtol=1e-9, atol=1e-9)
    by_key = {key: row for row, key in enumerate(zip(merged.item_ids, merged.event_types, strict=True))}
    rows = [by_key[key] for key in zip(expected.item_ids, expected.event_types, strict=True)]
    for name in ("first_ms", "last_ms", "counts"):
        assert getattr(merged, name)[rows].tolist() == getattr(expected, name).tolist()
    assert UserState.from_bytes(merged.to_bytes()).counts.tolist() == merged.counts.tolist()


def test_states_of_other_half_lives_are_not_merged() -> None:
    with pytest.raises(ValueError, match="half-lives"):
        UserState((1.0,)).merged_with(UserState((2.0,)))
