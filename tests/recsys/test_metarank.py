import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import DataError
from recsys.metarank import INTERACTION, ITEM, RANKING, USER, read_log
from recsys.metarank_sources import MetarankSources, read_metarank
from recsys.readers import ROW
from recsys.schema import (
    ATTRIBUTES,
    BRAND,
    CATEGORY,
    EVENT_ID,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    LIST_ID,
    POSITION,
    PRICE,
    QUANTITY,
    SESSION_ID,
    TAGS,
    TEXT,
    TITLE,
    UPDATED_TIME,
    USER_ID,
)

NOON_MS = 1_714_564_800_000  # 2024-05-01T12:00:00Z
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

Line = Mapping[str, object]

ITEM_LINE: Line = {"event": "item", "id": "1", "item": "cup", "timestamp": str(NOON_MS), "fields": []}
RANKING_LINE: Line = {
    "event": "ranking",
    "id": "r1",
    "user": "ann",
    "session": "s1",
    "timestamp": str(NOON_MS),
    "fields": [{"name": "query", "value": "tea"}],
    "items": [{"id": "pan", "fields": [{"name": "relevancy", "value": 0.5}]}, {"id": "cup"}],
}
CLICK_LINE: Line = {
    "event": "interaction",
    "id": "c1",
    "item": "cup",
    "user": "ann",
    "session": "s1",
    "timestamp": str(NOON_MS + 1000),
    "type": "click",
    "ranking": "r1",
    "fields": [],
}


def written(path: Path, lines: Sequence[Line | str]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def sources(directory: Path, *lines: Line | str) -> MetarankSources:
    return read_metarank([written(directory / "events.jsonl", lines)])


def fields(**values: object) -> list[dict[str, object]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def attributes(table: pl.DataFrame) -> list[dict[str, str]]:
    rows = table[ATTRIBUTES].fill_null([]).to_list()
    return [{pair["key"]: pair["value"] for pair in pairs} for pairs in rows]


def test_a_ranking_is_an_impression_per_item_with_its_list_and_place(tmp_path: Path) -> None:
    events = sources(tmp_path, RANKING_LINE).events.rows
    shared = {EVENT_TYPE: "impression", USER_ID: "ann", SESSION_ID: "s1", EVENT_TIME: NOON, LIST_ID: "r1"}
    expected = [
        {EVENT_ID: "r1/0", ITEM_ID: "pan", POSITION: 0},
        {EVENT_ID: "r1/1", ITEM_ID: "cup", POSITION: 1},
    ]
    rows = events.select(EVENT_ID, ITEM_ID, POSITION, *shared).to_dicts()
    assert rows == [{**row, **shared} for row in expected]


def test_an_interaction_stands_where_its_list_showed_the_item(tmp_path: Path) -> None:
    elsewhere = {**CLICK_LINE, "id": "c2", "item": "hat"}
    alone = {**CLICK_LINE, "id": "c3", "ranking": None}
    events = sources(tmp_path, CLICK_LINE, elsewhere, alone, RANKING_LINE).events.rows
    clicks = events.filter(pl.col(EVENT_TYPE) == "click").select(EVENT_ID, LIST_ID, POSITION)
    assert clicks.rows() == [("c1", "r1", 1), ("c2", "r1", None), ("c3", None, None)]


@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("click", "click"),
        ("Purchase", "purchase"),
        ("add-to-cart", "add_to_cart"),
        ("addToCart", "add_to_cart"),
        ("detail view", "view"),
        ("favourite", "like"),
        ("Teleport", "Teleport"),
    ],
)
def test_a_type_is_understood_by_its_name_or_left_as_it_is(
    tmp_path: Path, name: str, event_type: str
) -> None:
    events = sources(tmp_path, {**CLICK_LINE, "type": name}).events.rows
    assert events[EVENT_TYPE].to_list() == [event_type]


def test_an_interaction_says_what_was_paid_and_other_fields_are_named(tmp_path: Path) -> None:
    bought = {**CLICK_LINE, "type": "purchase", "fields": fields(quantity=2, price=1.5, mood="good")}
    said = {**CLICK_LINE, "type": "comment", "fields": fields(text="so blue")}
    found = sources(tmp_path, RANKING_LINE, bought, said)
    rows = found.events.rows.tail(2).select(QUANTITY, PRICE, TEXT).rows()
    assert rows == [("2", "1.5", None), (None, None, "so blue")]
    assert found.ignored_fields == ("mood", "query")


def test_fields_of_an_item_are_columns_or_attributes(tmp_path: Path) -> None:
    known = fields(
        title="Cup", price=4.0, brand="Potter", tags=["mug", "tea"], category="Home > Kitchen", available=True
    )
    other = fields(sizes=[1, 2.5], colour="blue", stock=3.0, none=None, blank="", box={"w": 1}, item_id="x")
    items = sources(tmp_path, {**ITEM_LINE, "fields": [*known, *other]}).items.rows
    assert items.select(ITEM_ID, TITLE, PRICE, BRAND, TAGS).row(0) == (
        "cup",
        "Cup",
        "4",
        "Potter",
        ["mug", "tea"],
    )
    assert items[CATEGORY].to_list() == [["Home ", " Kitchen"]]
    assert attributes(items) == [
        {"sizes": "1, 2.5", "colour": "blue", "stock": "3", "box": '{"w": 1}', "item_id": "x"}
    ]


def test_a_later_item_event_changes_the_fields_that_it_names(tmp_path: Path) -> None:
    late = {**ITEM_LINE, "timestamp": "2024-05-01T13:00:00Z", "fields": fields(price=5, colour="red")}
    early = {**ITEM_LINE, "fields": fields(title="Cup", price=4, colour="blue", size="L")}
    pan = {**ITEM_LINE, "item": "pan"}
    found = sources(tmp_path, late, pan, early)
    assert found.items.rows.select(ITEM_ID, TITLE, PRICE).rows() == [("cup", "Cup", "5"), ("pan", None, None)]
    assert attributes(found.items.rows) == [{"colour": "red", "size": "L"}, {}]
    assert found.num_updates == {ITEM: 1, USER: 0}


def test_users_come_with_attributes_and_the_time_of_the_last_word(tmp_path: Path) -> None:
    first = {"event": "user", "id": "u1", "user": "ann", "timestamp": NOON_MS, "fields": fields(age=30)}
    last = {**first, "timestamp": NOON_MS + 1000, "fields": fields(age=31)}
    users = sources(tmp_path, first, last).users
    assert users is not None
    assert users.rows.select(USER_ID, UPDATED_TIME).rows() == [
        ("ann", datetime(2024, 5, 1, 12, 0, 1, tzinfo=UTC))
    ]
    assert attributes(users.rows) == [{"age": "31"}]
    assert sources(tmp_path, ITEM_LINE).users is None


@pytest.mark.parametrize(
    "timestamp", [str(NOON_MS), NOON_MS, float(NOON_MS), "2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00"]
)
def test_times_are_milliseconds_or_iso(tmp_path: Path, timestamp: object) -> None:
    log = read_log([written(tmp_path / "events.jsonl", [{**CLICK_LINE, "timestamp": timestamp}])])
    assert log.tables[INTERACTION][EVENT_TIME].to_list() == [NOON]


def test_numbers_are_taken_for_ids(tmp_path: Path) -> None:
    line = {**RANKING_LINE, "id": 7, "user": 8, "session": 9, "items": [{"id": 1}, {"id": 2}]}
    events = sources(tmp_path, line).events.rows
    assert events.select(LIST_ID, USER_ID, SESSION_ID, ITEM_ID).rows() == [
        ("7", "8", "9", "1"),
        ("7", "8", "9", "2"),
    ]


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        ("{not json", INTERACTION, "line is not a JSON object"),
        ("[1]", INTERACTION, "line is not a JSON object"),
        ("{}", INTERACTION, "event is not one of item, user, ranking, interaction"),
        (
            {**ITEM_LINE, "event": "feedback"},
            INTERACTION,
            "event is not one of item, user, ranking, interaction",
        ),
        ({**ITEM_LINE, "item": None}, ITEM, "item: Input should be a valid string"),
        ({**ITEM_LINE, "timestamp": "soon"}, ITEM, "event_time is not a time between 1970 and 9999"),
        ({**ITEM_LINE, "timestamp": " "}, ITEM, "event_time is missing"),
        ({**ITEM_LINE, "fields": [{"value": 1}]}, ITEM, "fields.name: Field required"),
        ({"event": "user", "timestamp": 1}, USER, "user: Field required"),
        ({**RANKING_LINE, "items": []}, RANKING, "items: List should have at least 1 item"),
        ({**RANKING_LINE, "items": [{"id": "a"}, {}]}, RANKING, "items.id: Field required"),
        ({**CLICK_LINE, "type": 1}, INTERACTION, "type: Input should be a valid string"),
    ],
)
def test_a_line_that_says_nothing_is_kept_with_its_reason(
    tmp_path: Path, line: Line | str, kind: str, reason: str
) -> None:
    log = read_log([written(tmp_path / "events.jsonl", [CLICK_LINE, line])])
    refused = {name: rows for name, rows in log.refused.items() if rows.height}
    assert set(refused) == {kind}
    ((row, found),) = refused[kind].iter_rows()
    assert found.startswith(reason)
    said = json.loads(row)
    assert (said if isinstance(said, str) else row) == (line if isinstance(line, str) else json.dumps(line))
    assert sum(table.height for table in log.tables.values()) == 1


def test_a_line_that_is_no_text_is_kept_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(json.dumps(CLICK_LINE).encode() + b"\n\xff\n")
    refused = read_log([path]).refused[INTERACTION]
    assert refused[ROW].to_list() == ['"\\ufffd"']


def test_several_files_are_one_log(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl.gz"
    items.write_bytes(gzip.compress(json.dumps({**ITEM_LINE, "fields": fields(title="Cup")}).encode()))
    found = read_metarank([items, written(tmp_path / "events.jsonl", [CLICK_LINE])])
    assert found.items.rows[TITLE].to_list() == ["Cup"]
    assert found.events.rows.height == 1


def test_files_without_any_event_are_errors_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or directory"):
        read_log([tmp_path / "events.jsonl"])
    with pytest.raises(DataError, match="event is not one of item"):
        read_log([written(tmp_path / "events.jsonl", ['{"item_id": "cup"}'])])
    with pytest.raises(DataError, match="not JSON Lines"):
        read_log([written(tmp_path / "events.csv", ["item_id"])])
