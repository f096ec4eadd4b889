import numpy as np
import polars as pl
import pytest

from features import shown
from features.registry import names
from recsys.config import Config, RankerConfig
from recsys.errors import LeakageError
from recsys.schema import (
    DAY_MS,
    EFFECTIVE_TIME,
    EVENT_TYPE,
    ITEM_ID,
    LIST_ID,
    POSITION,
    PRICE,
    TIMESTAMP,
    USER_ID,
)
from tests.recsys.small_catalogue import (
    HOUR_MS,
    NOW,
    greengrocer,
    parts_without_encoder,
    shopping,
    small_config,
)
from training.decisions import Decisions
from training.shown_decisions import collect_shown

CATALOGUE = greengrocer()
HISTORY = shopping(CATALOGUE, num_users=4)
END = NOW + 7 * DAY_MS
COLUMNS = {
    USER_ID: pl.String(),
    LIST_ID: pl.String(),
    EVENT_TYPE: pl.String(),
    ITEM_ID: pl.String(),
    POSITION: pl.Int32(),
    EFFECTIVE_TIME: pl.Int64(),
}
Row = tuple[str, str | None, str, str, int | None, int]


def shows(
    list_id: str, item_ids: str, chosen: dict[str, str] | None = None, at_ms: int = NOW, user_id: str = "ann"
) -> list[Row]:
    """A list of items, in their order, and the types of the events that followed by item."""
    rows: list[Row] = [
        (user_id, list_id, "impression", item_id, place, at_ms)
        for place, item_id in enumerate(item_ids.split())
    ]
    return rows + [
        (user_id, list_id, name, item_id, None, at_ms + HOUR_MS) for item_id, name in (chosen or {}).items()
    ]


def log(rows: list[Row]) -> pl.LazyFrame:
    past: list[Row] = [(who, None, name, item_id, None, time) for who, item_id, name, time in HISTORY]
    frame = pl.DataFrame([*past, *rows], schema=COLUMNS, orient="row").lazy()
    return frame.with_columns(pl.col(EFFECTIVE_TIME).cast(TIMESTAMP), pl.lit(None, pl.Float64).alias(PRICE))


def configured(**ranker: object) -> Config:
    return small_config().model_copy(update={"ranker": RankerConfig.model_validate(ranker)})


def collect(rows: list[Row], config: Config | None = None, from_ms: int = NOW) -> Decisions:
    return collect_shown(log(rows), parts_without_encoder(HISTORY, config or configured()), from_ms, END)


def column(found: Decisions, name: str) -> list[float]:
    values: list[float] = found.matrix[:, names(small_config().state).index(name)].tolist()
    return values


def test_a_list_is_a_group_and_its_choices_are_graded() -> None:
    found = collect(shows("a", "leek beet kale", {"kale": "click", "leek": "purchase"}))
    assert [CATALOGUE.item_ids[i] for i in found.positions.tolist()] == ["beet", "kale", "leek"]
    assert found.labels.tolist() == [0, 2, 4]
    assert found.places is not None
    assert found.places.tolist() == [1, 2, 0]
    assert (found.groups.tolist(), found.users) == ([3], ["ann"])


def test_the_strongest_choice_counts_and_another_list_is_another_decision() -> None:
    rows = shows("a", "leek beet", {"leek": "click"}) + shows("a", "", {"leek": "purchase"})
    rows += shows("b", "leek beet", {"beet": "view"}, NOW + DAY_MS)
    rows += shows("b", "leek beet", {"leek": "click"}, NOW + 2 * DAY_MS, "bob")
    found = collect(rows)
    assert found.groups.tolist() == [2, 2, 2]
    assert found.labels.tolist() == [0, 4, 1, 0, 0, 2]
    assert found.users == ["ann", "ann", "bob"]


def test_lists_that_teach_no_order_are_left_out() -> None:
    rows = shows("nothing", "leek beet") + shows("everything", "leek", {"leek": "click"})
    rows += shows("too-early", "leek beet", {"leek": "click"}, NOW - 1)
    rows += shows("too-late", "leek beet", {"leek": "click"}, END)
    rows += shows("unknown", "leek unicorn", {"leek": "click"})
    assert len(collect(rows).groups) == 0
    assert collect(rows).matrix.shape == (0, len(names(small_config().state)))


def test_a_list_sees_what_the_lists_before_it_showed_and_never_itself() -> None:
    first = shows("a", "leek beet", {"leek": "click"}, NOW + HOUR_MS)
    second = shows("b", "beet leek", {"beet": "click"}, NOW + DAY_MS)
    found = collect(first + second)
    np.testing.assert_array_equal(column(found, "user_item_shown"), [np.nan, np.nan, 1, 1])
    np.testing.assert_array_equal(column(found, "user_item_chosen"), [np.nan, np.nan, 0, 1])


def test_half_of_the_lists_hide_their_positions() -> None:
    rows = [
        row for day in range(40) for row in shows(f"list-{day}", "leek beet", {"leek": "click"}, NOW + day)
    ]
    rows = shows("before", "leek", at_ms=NOW - HOUR_MS) + rows
    places = np.asarray(column(collect(rows), shown.LIST_POSITION)).reshape(40, 2)
    hidden = np.isnan(places).all(1)
    assert 10 < hidden.sum() < 30
    assert places[~hidden].tolist() == [[1, 0]] * int((~hidden).sum())
    ignored = column(collect(rows, configured(position="ignore")), shown.LIST_POSITION)
    assert np.isnan(ignored).all()


def test_of_many_lists_the_last_ones_are_kept() -> None:
    rows = shows("a", "leek beet", {"leek": "click"}) + shows("b", "leek beet", {"beet": "click"}, NOW + 1)
    assert collect(rows, configured(num_lists=1)).labels.tolist() == [2, 0]


def test_a_log_without_lists_has_nothing_to_teach() -> None:
    without = log([]).drop(LIST_ID, POSITION)
    parts = parts_without_encoder(HISTORY, configured())
    assert len(collect_shown(without, parts, NOW, END).groups) == 0


def test_parts_that_saw_the_window_are_refused() -> None:
    with pytest.raises(LeakageError):
        collect(shows("a", "leek beet", {"leek": "click"}), from_ms=NOW - 1)
