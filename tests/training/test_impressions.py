from collections.abc import Sequence

import numpy as np
import polars as pl

from recsys.config import StateConfig
from recsys.schema import (
    DAY_MS,
    EFFECTIVE_TIME,
    EVENT_TYPE,
    ITEM_ID,
    LIST_ID,
    POSITION,
    TIMESTAMP,
    USER_ID,
)
from tests.recsys.small_catalogue import NOW, events_frame, greengrocer
from training.history import HistoryLog
from training.impressions import ShownExample, ShownLists, collate_shown

CATALOGUE = greengrocer()
Row = tuple[str, str, str, float, str | None, int | None]
"""User, item, event type, age in days, list, position."""
HISTORY: list[Row] = [("ann", "leek", "purchase", 9.0, None, None), ("bob", "beet", "view", 9.0, None, None)]


def shown_lists(rows: Sequence[Row], from_ms: int = 0) -> ShownLists:
    schema = {
        USER_ID: pl.String(),
        ITEM_ID: pl.String(),
        EVENT_TYPE: pl.String(),
        EFFECTIVE_TIME: pl.Int64(),
        LIST_ID: pl.String(),
        POSITION: pl.Int32(),
    }
    given = [(user, item, name, NOW - round(age * DAY_MS), *rest) for user, item, name, age, *rest in rows]
    events = pl.DataFrame(given, schema=schema, orient="row").with_columns(
        pl.col(EFFECTIVE_TIME).cast(TIMESTAMP)
    )
    log = HistoryLog(events, CATALOGUE, StateConfig(), 5)
    return ShownLists(log, events, CATALOGUE, from_ms=from_ms)


def impressions(list_id: str, *items: str, user: str = "ann", age: float = 5.0) -> list[Row]:
    return [(user, item, "impression", age, list_id, i) for i, item in enumerate(items)]


def texts_of(*item_ids: str) -> list[int]:
    found: list[int] = CATALOGUE.text_of_item[CATALOGUE.positions(item_ids)].tolist()
    return found


def as_pairs(example: ShownExample) -> list[tuple[int, bool]]:
    return list(zip(example.texts.tolist(), example.engaged.tolist(), strict=True))


def test_what_was_shown_is_engaged_with_or_not() -> None:
    clicks: list[Row] = [("ann", "kale", "click", 4.9, "l1", 1), ("ann", "banana", "purchase", 4.0, "l1", 2)]
    found = shown_lists([*HISTORY, *impressions("l1", "cherry", "kale", "banana"), *clicks])
    assert len(found) == 1
    cherry, kale, banana = texts_of("cherry", "kale", "banana")
    assert as_pairs(found[0]) == [(cherry, False), (kale, True), (banana, True)]
    assert found[0].history.texts.tolist() == texts_of("leek")
    assert found.rate == 2 / 3
    assert found.texts.tolist() == sorted([cherry, kale, banana])


def test_only_the_own_list_the_own_user_and_engagements_count() -> None:
    others: list[Row] = [
        ("ann", "cherry", "click", 4.9, "l2", 0),
        ("ann", "cherry", "click", 4.9, None, None),
        ("bob", "cherry", "click", 4.9, "l1", 0),
        ("ann", "cherry", "view", 4.9, "l1", 0),
        ("ann", "cherry", "dislike", 4.9, "l1", 0),
    ]
    found = shown_lists([*HISTORY, *impressions("l1", "cherry"), *others])
    assert as_pairs(found[0]) == [(texts_of("cherry")[0], False)]


def test_a_history_ends_before_the_list_was_shown() -> None:
    later: list[Row] = [
        ("ann", "kale", "purchase", 5.0, None, None),
        ("ann", "beet", "view", 5.5, None, None),
    ]
    found = shown_lists([*HISTORY, *later, *impressions("l1", "cherry", age=5.0)])
    assert found[0].history.texts.tolist() == texts_of("beet", "leek")
    assert found[0].history.age_days.tolist() == [0.0, 3.5]


def test_lists_before_the_start_and_users_without_a_history_are_left_out() -> None:
    rows = [
        *HISTORY,
        *impressions("early", "cherry", age=6.0),
        *impressions("late", "cherry", age=3.0),
        *impressions("stranger", "cherry", user="cem", age=3.0),
        *impressions("first", "cherry", user="bob", age=9.0),
    ]
    assert len(shown_lists(rows)) == 2
    assert len(shown_lists(rows, from_ms=NOW - 4 * DAY_MS)) == 1


def test_a_list_that_was_logged_twice_is_one_and_equal_texts_are_one() -> None:
    rows = [
        *HISTORY,
        *impressions("l1", "apple-1", "apple-2", "kale", age=5.0),
        *impressions("l1", "kale", "apple-1", age=4.5),
        ("ann", "apple-2", "click", 4.4, "l1", None),
    ]
    (found,) = [shown_lists(rows)[i] for i in range(len(shown_lists(rows)))]
    apple, kale = texts_of("apple-1", "kale")
    assert sorted(as_pairs(found)) == sorted([(apple, True), (kale, False)])
    assert found.history.texts.tolist() == texts_of("leek")


def test_items_that_the_catalogue_lacks_are_not_there() -> None:
    assert len(shown_lists([*HISTORY, *impressions("l1", "gone")])) == 0
    found = shown_lists([*HISTORY, *impressions("l1", "gone", "kale")])
    assert found[0].texts.tolist() == texts_of("kale")


def test_a_log_without_lists_has_no_examples() -> None:
    events = events_frame([("ann", "leek", "purchase", NOW)]).collect()
    found = ShownLists(HistoryLog(events, CATALOGUE, StateConfig(), 5), events, CATALOGUE, from_ms=0)
    assert len(found) == len(shown_lists(HISTORY)) == 0
    assert found.rate == 0
    assert found.texts.tolist() == []


def test_a_batch_names_the_user_of_each_shown_text() -> None:
    found = shown_lists(
        [
            *HISTORY,
            *impressions("l1", "cherry", "kale"),
            *impressions("l2", "radish", user="bob", age=4.0),
            ("bob", "radish", "like", 3.0, "l2", 0),
        ]
    )
    batch = collate_shown([found[0], found[1]])
    assert batch.shown_user.tolist() == [0, 0, 1]
    assert batch.shown_text.tolist() == texts_of("cherry", "kale", "radish")
    assert batch.engaged.tolist() == [False, False, True]
    assert batch.history.texts.tolist() == [texts_of("leek"), texts_of("beet")]


def test_many_lists_are_read_in_a_moment() -> None:
    random = np.random.default_rng(0)
    items = [i for i in CATALOGUE.item_ids if i != "leek"]
    rows: list[Row] = [(f"u{u}", "leek", "view", 99.0, None, None) for u in range(500)]
    for number in range(4_000):
        rows += impressions(
            f"l{number}", *random.choice(items, 5, replace=False), user=f"u{number % 500}", age=number / 100
        )
    found = shown_lists(rows)
    assert len(found) == 4_000
    assert all(4 <= len(found[i].texts) <= 5 for i in range(0, 4_000, 97))  # both apples are one text
