"""No row may know what happened at or after its moment."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.moment import Parts
from recsys.schema import DAY_MS
from tests.features.small_log import (
    APPLE,
    BREAD,
    DATE,
    FEATURE_NAMES,
    ITEM_IDS,
    hand_made_parts,
    offline_rows,
    online_rows,
)
from tests.recsys.small_catalogue import NOW, Event

Rows = Callable[[Sequence[Event], Sequence[tuple[str, int]], Parts], np.ndarray]

USERS = ("ann", "bob")
QUERIES = [(user_id, NOW) for user_id in USERS]
PAST: list[Event] = [
    ("ann", APPLE, "purchase", NOW - 8 * DAY_MS),
    ("ann", BREAD, "click", NOW - 3 * DAY_MS),
    ("ann", APPLE, "purchase", NOW - DAY_MS),
    ("bob", DATE, "like", NOW - 2 * DAY_MS),
]
LATER = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(ITEM_IDS),
        st.sampled_from(["view", "purchase", "dislike"]),
        st.one_of(st.just(NOW), st.integers(NOW, NOW + 50 * DAY_MS)),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=25)
@given(later=LATER)
def test_what_happens_at_or_after_the_moment_changes_no_row(later: list[Event]) -> None:
    parts = hand_made_parts()
    for rows in (offline_rows, online_rows):
        np.testing.assert_array_equal(rows(PAST + later, QUERIES, parts), rows(PAST, QUERIES, parts))


@settings(deadline=None, max_examples=25)
@given(later=LATER, shift_ms=st.integers(0, 100 * DAY_MS))
def test_shifting_the_future_changes_no_row(later: list[Event], shift_ms: int) -> None:
    shifted = [(*event[:3], event[3] + shift_ms) for event in later]
    parts = hand_made_parts()
    np.testing.assert_array_equal(
        offline_rows(PAST + later, QUERIES, parts), offline_rows(PAST + shifted, QUERIES, parts)
    )


def changed(before: np.ndarray, after: np.ndarray) -> set[str]:
    differs = ~np.isclose(before, after, rtol=0, atol=0, equal_nan=True)
    return {name for name, column in zip(FEATURE_NAMES, differs.T, strict=True) if column.any()}


MOVED_BY_A_PURCHASE = {
    "user_item_1d",
    "user_item_count",
    "user_item_recency_days",
    "user_category_2d",
    "user_parent_category_recency_days",
    "item_1d",
    "item_trend",
    "item_category_share",
    "user_2d",
    "user_baskets",
    "user_recency_days",
    "interest",
    "recent_similarity",
}


@pytest.mark.parametrize("rows", [offline_rows, online_rows])
def test_one_millisecond_decides(rows: Rows) -> None:
    parts = hand_made_parts()
    before = rows(PAST, [("ann", NOW)], parts)
    at_the_moment = rows([*PAST, ("ann", DATE, "purchase", NOW)], [("ann", NOW)], parts)
    just_before = rows([*PAST, ("ann", DATE, "purchase", NOW - 1)], [("ann", NOW)], parts)
    assert changed(before, at_the_moment) == set()
    assert changed(before, just_before) >= MOVED_BY_A_PURCHASE


@pytest.mark.parametrize("rows", [offline_rows, online_rows])
def test_a_basket_never_sees_itself(rows: Rows) -> None:
    basket_ms = NOW - DAY_MS
    basket: list[Event] = [("ann", item_id, "purchase", basket_ms) for item_id in ITEM_IDS]
    earlier = [event for event in PAST if event[3] < basket_ms]
    query = [("ann", basket_ms)]
    parts = hand_made_parts()
    np.testing.assert_array_equal(rows(earlier + basket, query, parts), rows(earlier, query, parts))


def test_the_order_of_arrival_does_not_matter() -> None:
    parts = hand_made_parts()
    in_order = online_rows(sorted(PAST, key=lambda event: event[3]), QUERIES, parts)
    arrived = online_rows(sorted(PAST, key=lambda event: -event[3]), QUERIES, parts)
    np.testing.assert_allclose(in_order, arrived, rtol=1e-12)
