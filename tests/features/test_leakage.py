"""No row may know what happened at or after its moment."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import (
    alike,
    collaborative,
    item,
    item_history,
    price,
    season,
    shown,
    standing,
    taste,
    text_interest,
    user,
    user_attribute,
    user_item,
)
from features.log import OfflineLog
from recsys.item_tables import fit_item_tables
from recsys.moment import Moment, Parts
from recsys.schema import AS_OF, DAY_MS
from tests.features.small_log import (
    APPLE,
    BREAD,
    CATALOGUE,
    CONFIG,
    DATE,
    FEATURE_NAMES,
    ITEM_IDS,
    hand_made_parts,
    offline_rows,
    online_moment,
    online_rows,
)
from tests.recsys.small_catalogue import NOW, Event, events_frame

Rows = Callable[[Sequence[Event], Sequence[tuple[str, int]], Parts], np.ndarray]

USERS = ("ann", "bob")
QUERIES = [(user_id, NOW) for user_id in USERS]
PAST: list[Event] = [
    ("ann", APPLE, "purchase", NOW - 8 * DAY_MS),
    ("ann", BREAD, "view", NOW - 3 * DAY_MS),
    ("ann", APPLE, "purchase", NOW - DAY_MS),
    ("bob", DATE, "like", NOW - 2 * DAY_MS),
    *((who, item_id, "impression", NOW - 4 * DAY_MS) for who in USERS for item_id in (APPLE, BREAD, DATE)),
]
LATER = st.lists(
    st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(ITEM_IDS),
        st.sampled_from(["impression", "view", "purchase", "dislike"]),
        st.one_of(st.just(NOW), st.integers(NOW, NOW + 50 * DAY_MS)),
    ),
    max_size=8,
)
LOG_FAMILIES = (user_item, user_attribute, item, user)
MOMENT_FAMILIES = (
    text_interest,
    collaborative,
    alike,
    item_history,
    taste,
    price,
    season,
    standing,
    shown,
)


def fitted_parts(events: Sequence[Event]) -> Parts:
    """The hand-made parts with tables that were fitted on a log until ``NOW``."""
    tables = fit_item_tables(events_frame(events), CATALOGUE, hand_made_parts().words, CONFIG, NOW)
    return replace(hand_made_parts(), tables=tables)


@settings(deadline=None, max_examples=25)
@given(later=LATER)
def test_what_happens_at_or_after_the_moment_changes_no_row(later: list[Event]) -> None:
    parts = hand_made_parts()
    for rows in (offline_rows, online_rows):
        np.testing.assert_array_equal(rows(PAST + later, QUERIES, parts), rows(PAST, QUERIES, parts))


@settings(deadline=None, max_examples=10)
@given(later=LATER)
def test_parts_that_are_fitted_until_the_moment_know_nothing_of_what_follows(later: list[Event]) -> None:
    past = [(f"user-{i}", *event[1:]) for i in range(3) for event in PAST] + PAST
    np.testing.assert_array_equal(
        offline_rows(past + later, QUERIES, fitted_parts(past + later)),
        offline_rows(past, QUERIES, fitted_parts(past)),
    )


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
    "user_item_age_days",
    "user_item_share",
    "user_item_rate",
    "user_category_2d",
    "user_parent_category_recency_days",
    "item_1d",
    "item_trend",
    "item_category_share",
    "user_2d",
    "user_baskets",
    "user_recency_days",
    "user_items",
    "interest",
    "recent_similarity",
    "last_similarity",
    "words_mean",
    "following",
    "taste",
    "taste_parent",
    "price_from_habit",
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


SECOND_MS = 1_000
JUST_BEFORE_THE_TICK = NOW - SECOND_MS
TOO_LATE: Event = ("ann", BREAD, "purchase", NOW - SECOND_MS // 2)
"""Half a second after ``JUST_BEFORE_THE_TICK``, and in a tick that is not over then."""


def rows_of_ann(events: Sequence[Event]) -> np.ndarray:
    """Ann's rows, beside a later query, for whose sake the log goes on."""
    queries = [("ann", JUST_BEFORE_THE_TICK), ("bob", NOW + DAY_MS)]
    return offline_rows(events, queries, hand_made_parts())[: len(ITEM_IDS)]


def look_ahead(family: ModuleType, events: Sequence[Event], patch: pytest.MonkeyPatch) -> None:
    """Let one family see a second of what follows."""
    if family in LOG_FAMILIES:
        honest_log: Callable[[OfflineLog, pl.LazyFrame], pl.LazyFrame] = family.offline

        def offline(log: OfflineLog, pairs: pl.LazyFrame) -> pl.LazyFrame:
            later = log.queries.with_columns(pl.col(AS_OF) + SECOND_MS)
            return honest_log(replace(log, queries=later), pairs)

        patch.setattr(family, "offline", offline)
        return
    honest: Callable[[Moment, np.ndarray], np.ndarray] = family.online

    def online(moment: Moment, positions: np.ndarray) -> np.ndarray:
        later = online_moment(events, ("ann", moment.as_of_ms + SECOND_MS), moment.parts)
        return honest(later, positions)

    patch.setattr(family, "online", online)


@pytest.mark.parametrize("family", [*LOG_FAMILIES, *MOMENT_FAMILIES], ids=lambda family: family.__name__)
def test_a_family_that_looked_one_second_ahead_would_be_caught(family: ModuleType) -> None:
    without, with_it = PAST, [*PAST, TOO_LATE]
    assert changed(rows_of_ann(without), rows_of_ann(with_it)) == set()
    seen = []
    for events in (without, with_it):
        with pytest.MonkeyPatch.context() as patch:
            look_ahead(family, events, patch)
            seen.append(rows_of_ann(events))
    caught = changed(*seen)
    assert caught
    assert caught <= {feature.name for feature in family.features(CONFIG.state)}
