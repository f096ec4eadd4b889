import gzip
import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from structlog.testing import capture_logs

from recsys.errors import ConfigError, DataError
from recsys.event_log import EventLog
from recsys.ingest import IngestSummary, ingest, read_items, read_users
from recsys.schema import (
    ATTRIBUTES,
    AVAILABLE,
    BRAND,
    CATEGORY,
    CREATED_TIME,
    DESCRIPTION,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    LIST_ID,
    MAX_TEXT_CHARS,
    POSITION,
    PRICE,
    QUANTITY,
    RECEIVED_TIME,
    SESSION_ID,
    TAGS,
    TEXT,
    TITLE,
    UPDATED_TIME,
    USER_ID,
)
from recsys.workspace import Workspace

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)

Row = Mapping[str, object]

CUP: Row = {ITEM_ID: "cup", TITLE: "Blue cup"}
VIEW: Row = {
    EVENT_ID: "e1",
    EVENT_TYPE: "view",
    USER_ID: "ann",
    ITEM_ID: "cup",
    EVENT_TIME: "2024-05-01T10:00:00Z",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def jsonl(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(f"{json.dumps(dict(row))}\n" for row in rows), encoding="utf-8")
    return path


def load(
    workspace: Workspace,
    items: Sequence[Row] | Path = (CUP,),
    events: Sequence[Row] | Path = (VIEW,),
    users: Path | None = None,
    max_reject_share: float = 1.0,
) -> IngestSummary:
    given = workspace.root.parent
    items = items if isinstance(items, Path) else jsonl(given / "items.jsonl", items)
    events = events if isinstance(events, Path) else jsonl(given / "events.jsonl", events)
    return ingest(workspace, items, events, users, now_ms=NOW_MS, max_reject_share=max_reject_share)


def logged(workspace: Workspace) -> pl.DataFrame:
    return EventLog(workspace.events).scan().sort(EVENT_ID).collect()


def reasons_of(workspace: Workspace, table: str) -> list[tuple[object, str]]:
    (path,) = workspace.rejects.glob(f"{table}-*.parquet")
    return [(json.loads(row), reason) for row, reason in pl.read_parquet(path).iter_rows()]


def test_items_and_events_come_back_as_the_schema_says(workspace: Workspace) -> None:
    summary = load(workspace, [{**CUP, PRICE: 4, TAGS: ["mug"], CATEGORY: ["Home", "Kitchen"]}])
    items = read_items(workspace)
    assert items.schema == ITEM_SCHEMA
    assert items.row(0, named=True) == {
        **dict.fromkeys(ITEM_SCHEMA),
        **CUP,
        PRICE: 4.0,
        TAGS: ["mug"],
        CATEGORY: ["Home", "Kitchen"],
        AVAILABLE: True,
    }
    events = logged(workspace)
    assert events.select(EVENT_SCHEMA.keys()).schema == EVENT_SCHEMA
    assert events[RECEIVED_TIME].to_list() == [datetime(2024, 5, 1, 10, tzinfo=UTC)]
    assert (summary.items.accepted, summary.events.accepted, summary.users) == (1, 1, None)
    assert not workspace.rejects.exists()


ROWS = [
    {**CUP, TAGS: "mug, tea", CATEGORY: "Home > Kitchen"},
    {ITEM_ID: "pan", TITLE: "Pan", TAGS: None, CATEGORY: None},
]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "ndjson", "parquet.gz", "csv.gz", "jsonl.gz"])
def test_every_kind_of_file_gives_the_same_items(workspace: Workspace, kind: str) -> None:
    frame = pl.DataFrame(ROWS)
    path = workspace.root.parent / f"items.{kind}"
    writers: dict[str, Callable[[Path], object]] = {
        "parquet": frame.write_parquet,
        "csv": frame.write_csv,
        "jsonl": frame.write_ndjson,
        "ndjson": frame.write_ndjson,
    }
    plain = path.with_name(path.name.removesuffix(".gz"))
    writers[kind.removesuffix(".gz")](plain)
    if kind.endswith(".gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    load(workspace, path)
    items = read_items(workspace)
    assert items[ITEM_ID].to_list() == ["cup", "pan"]
    assert items[TAGS].to_list() == [["mug", "tea"], None]
    assert items[CATEGORY].to_list() == [["Home", "Kitchen"], None]


def test_a_directory_is_read_with_its_folders_and_without_hidden_files(workspace: Workspace) -> None:
    directory = workspace.root.parent / "items"
    (directory / "part").mkdir(parents=True)
    (directory / "_SUCCESS").write_text("")
    (directory / ".crc").write_text("x")
    pl.DataFrame({ITEM_ID: [1], TITLE: ["One"], "size": [4]}).write_parquet(directory / "a.parquet")
    pl.DataFrame({ITEM_ID: ["cup"], TITLE: ["Cup"], PRICE: ["2.5"]}).write_csv(directory / "part" / "b.csv")
    load(workspace, directory)
    items = read_items(workspace)
    assert items[ITEM_ID].to_list() == ["1", "cup"]
    assert items[PRICE].to_list() == [None, 2.5]
    assert items[ATTRIBUTES].to_list() == [[{"key": "size", "value": "4"}], None]


def test_unknown_columns_are_kept_as_attributes(workspace: Workspace) -> None:
    path = workspace.root.parent / "items.parquet"
    pl.DataFrame(
        {
            ITEM_ID: ["cup", "pan"],
            TITLE: ["Cup", "Pan"],
            "colour": ["blue", ""],
            "sizes": [[1, 2], None],
            "since": [date(2020, 1, 2), None],
            ATTRIBUTES: [{"material": "clay", "parts": 1}, {"material": None, "parts": None}],
        }
    ).write_parquet(path)
    load(workspace, path)
    pairs = {"colour": "blue", "sizes": "1, 2", "since": "2020-01-02", "material": "clay", "parts": "1"}
    assert read_items(workspace)[ATTRIBUTES].to_list() == [
        [{"key": k, "value": v} for k, v in pairs.items()],
        None,
    ]


def test_a_list_of_pairs_is_kept_as_it_is(workspace: Workspace) -> None:
    pairs = [{"key": "colour", "value": "blue"}]
    load(workspace, [{**CUP, ATTRIBUTES: pairs}, {ITEM_ID: "pan", TITLE: "Pan", "size": "L"}])
    assert read_items(workspace)[ATTRIBUTES].to_list() == [pairs, [{"key": "size", "value": "L"}]]


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T10:00:00Z",
        "2024-05-01T10:00:00.000+00:00",
        "2024-05-01T12:00:00+02:00",
        "2024-05-01T12:00:00+0200",
        "2024-05-01 10:00:00",
        "2024-05-01 10:00:00 UTC",
        "2024-05-01T10:00",
        "2024-05-01T10:00Z",
        " 2024-05-01t10:00:00z ",
        str(NOW_MS - 2 * 3_600_000),
    ],
)
def test_times_in_text_are_iso_or_milliseconds_and_utc_without_a_zone(
    workspace: Workspace, text: str
) -> None:
    path = workspace.root.parent / "events.csv"
    pl.DataFrame([{**VIEW, EVENT_TIME: text}]).write_csv(path)
    load(workspace, events=path)
    assert logged(workspace)[EVENT_TIME].to_list() == [datetime(2024, 5, 1, 10, tzinfo=UTC)]


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([datetime(2024, 5, 1)]),
        pl.Series([datetime(2024, 5, 1)], dtype=pl.Datetime("ns")),
        pl.Series([datetime(2024, 5, 1, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo"),
        pl.Series([date(2024, 5, 1)]),
        pl.Series([1_714_521_600_000]),
        pl.Series([1_714_521_600_000.0]),
    ],
)
def test_times_of_every_type_are_read_as_utc(workspace: Workspace, times: pl.Series) -> None:
    path = workspace.root.parent / "events.parquet"
    pl.DataFrame([VIEW]).with_columns(times.alias(EVENT_TIME)).write_parquet(path)
    load(workspace, events=path)
    assert logged(workspace)[EVENT_TIME].to_list() == [datetime(2024, 5, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({ITEM_ID: None}, "item_id is missing"),
        ({ITEM_ID: ""}, "item_id is missing"),
        ({ITEM_ID: "é" * 129}, "item_id is longer than 256 bytes"),
        ({ITEM_ID: "cup"}, "item_id came before in the same data"),
        ({TITLE: "  "}, "title is missing"),
        ({DESCRIPTION: "x" * (MAX_TEXT_CHARS + 1)}, "description is longer than 20000 characters"),
        ({TAGS: ["x" * MAX_TEXT_CHARS, "y"]}, "tags is longer than 20000 characters"),
        ({"manual": "x" * (MAX_TEXT_CHARS + 1)}, "attributes is longer than 20000 characters"),
        ({PRICE: "cheap"}, "price is not a number"),
        ({PRICE: "nan"}, "price is not finite"),
        ({PRICE: "-inf"}, "price is not finite"),
        ({PRICE: -0.01}, "price is negative"),
        ({PRICE: 1.1e12}, "price is above 1e+12"),
        ({AVAILABLE: "maybe"}, "available is not true or false"),
        ({CREATED_TIME: "yesterday"}, "created_time is not a time"),
        ({CATEGORY: "['Home']"}, "category is not a list of texts"),
    ],
)
def test_a_bad_item_is_refused_with_its_reason(workspace: Workspace, change: Row, reason: str) -> None:
    bad = {ITEM_ID: "bad", TITLE: "Bad", **change}
    summary = load(workspace, [CUP, bad])
    ((row, found),) = reasons_of(workspace, "items")
    assert found.startswith(reason)
    assert isinstance(row, dict)
    assert (
        row.items()
        >= {key: value for key, value in bad.items() if not isinstance(value, list | float)}.items()
    )
    assert summary.items.reasons == {found: 1}
    assert read_items(workspace)[TITLE].to_list() == ["Blue cup"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({EVENT_TYPE: "bought"}, "event_type is not one of impression, view"),
        ({EVENT_TYPE: None}, "event_type is missing"),
        ({USER_ID: ""}, "user_id is missing"),
        ({USER_ID: "u" * 257}, "user_id is longer than 256 bytes"),
        ({EVENT_ID: "e" * 257}, "event_id is longer than 256 bytes"),
        ({SESSION_ID: "s" * 257}, "session_id is longer than 256 bytes"),
        ({ITEM_ID: "pot"}, "item_id is not in the catalogue"),
        ({EVENT_TIME: None}, "event_time is missing"),
        ({EVENT_TIME: "01/05/2024"}, "event_time is not a time"),
        ({EVENT_TIME: "1969-12-31T23:59:59Z"}, "event_time is not a time"),
        ({EVENT_TIME: "2024-05-01T12:05:00.001Z"}, "event_time is more than 5 minutes in the future"),
        ({RECEIVED_TIME: "soon"}, "received_time is not a time"),
        ({QUANTITY: "nan"}, "quantity is not finite"),
        ({QUANTITY: -1}, "quantity is negative"),
        ({QUANTITY: 1e308}, "quantity is above 1e+12"),
        ({PRICE: "Infinity"}, "price is not finite"),
        ({POSITION: -1}, "position is negative"),
        ({POSITION: 1.5}, "position is not a whole number"),
        ({POSITION: 2**31}, "position is not a whole number"),
        ({TEXT: "x" * (MAX_TEXT_CHARS + 1)}, "text is longer than 20000 characters"),
    ],
)
def test_a_bad_event_is_refused_with_its_reason(workspace: Workspace, change: Row, reason: str) -> None:
    summary = load(workspace, events=[VIEW, {**VIEW, EVENT_ID: "bad", **change}])
    ((_, found),) = reasons_of(workspace, "events")
    assert found.startswith(reason)
    assert summary.events.reasons == {found: 1}
    assert (summary.events.read, summary.events.accepted, summary.events.rejected) == (2, 1, 1)
    assert logged(workspace)[EVENT_ID].to_list() == ["e1"]


def test_numbers_that_are_no_numbers_are_refused_in_parquet_too(workspace: Workspace) -> None:
    path = workspace.root.parent / "items.parquet"
    prices = [1.0, float("nan"), float("inf"), -1.0, None]
    pl.DataFrame({ITEM_ID: list("abcde"), TITLE: "x", PRICE: prices}).write_parquet(path)
    summary = load(workspace, path, [{**VIEW, ITEM_ID: "a"}])
    assert read_items(workspace)[ITEM_ID].to_list() == ["a", "e"]
    assert summary.items.reasons == {"price is not finite": 2, "price is negative": 1}


def test_an_event_just_five_minutes_ahead_is_taken(workspace: Workspace) -> None:
    load(workspace, events=[{**VIEW, EVENT_TIME: "2024-05-01T12:05:00Z"}])
    assert logged(workspace).height == 1


def test_times_that_no_calendar_holds_are_refused_and_can_still_be_shown(workspace: Workspace) -> None:
    path = workspace.root.parent / "events.parquet"
    times = pl.Series(EVENT_TIME, [2**62, NOW_MS - 1]).cast(pl.Datetime("ms", "UTC"))
    pl.DataFrame([VIEW, {**VIEW, EVENT_ID: "e2"}]).with_columns(times).write_parquet(path)
    load(workspace, events=path)
    ((row, reason),) = reasons_of(workspace, "events")
    assert reason.startswith("event_time is not a time")
    assert row == {**VIEW, EVENT_TIME: None}


def test_a_line_that_is_no_json_object_is_refused_and_the_others_are_taken(workspace: Workspace) -> None:
    path = workspace.root.parent / "items.jsonl"
    path.write_text(
        f'{json.dumps(dict(CUP))}\n[1]\n\n{{"item_id": "pan", "title": NaN}}\n{{"item_id": "cut of'
    )
    load(workspace, path)
    assert reasons_of(workspace, "items") == [
        ("[1]", "line is not a JSON object"),
        ('{"item_id": "pan", "title": NaN}', "line is not a JSON object"),
        ('{"item_id": "cut of', "line is not a JSON object"),
    ]


def test_a_csv_line_with_too_many_fields_is_refused_and_a_short_one_is_filled(workspace: Workspace) -> None:
    path = workspace.root.parent / "items.csv"
    path.write_text('item_id,title,brand\ncup,"Cup, blue",Acme\npan,Pan,Acme,4\npot,Pot\n')
    load(workspace, path)
    items = read_items(workspace)
    assert items.select(ITEM_ID, TITLE, BRAND).rows() == [("cup", "Cup, blue", "Acme"), ("pot", "Pot", None)]
    assert reasons_of(workspace, "items") == [
        (["pan", "Pan", "Acme", "4"], "line has 4 fields, the header has 3")
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("items.csv", b"", "empty"),
        ("items.csv", b"item_id,title\n", "no rows"),
        ("items.csv", b"item_id,name\ncup,Cup\n", "'title' is required; found the columns item_id, name"),
        ("items.csv", b"item_id,title,title\ncup,Cup,Cup\n", "two columns of one name: 'title'"),
        ("items.csv", b"item_id,title\ncup,C\xff\n", "CSV"),
        ("items.csv", b'item_id,title\ncup,"Cup\n', "CSV"),
        ("items.jsonl", b"\n\n", "empty"),
        ("items.jsonl", b"nothing\nhere\n", "JSON Lines"),
        (
            "items.jsonl",
            b'{"item_id": "cup", "title": ["Cup"]}\n',
            "'title' has type List\\(String\\), expected text",
        ),
        ("items.jsonl", b'{"item_id": "cup", "title": "C", "x": {"y": 1}}\n', "'x' has type Struct"),
        (
            "items.jsonl",
            b'{"item_id": "cup", "title": "C", "attributes": "x"}\n',
            "'attributes' has type String",
        ),
        ("items.jsonl", b'{"item_id": 1.5, "title": "C"}\n', "'item_id' has type Float64"),
        ("items.jsonl", b'{"item_id": "cup", "title": "C", "price": true}\n', "'price' has type Boolean"),
        ("items.jsonl", b'{"item_id": "cup", "title": "C", "tags": [true]}\n', "'tags' has type List"),
        (
            "items.jsonl",
            b'{"item_id": "cup", "title": "C", "created_time": true}\n',
            "'created_time' has type",
        ),
        (
            "items.jsonl",
            b'{"item_id": "cup", "title": "C", "available": 0.5}\n',
            "'available' has type Float64",
        ),
        ("items.parquet", b"PAR1 but no more", "Parquet"),
        ("items.csv.gz", b"not zipped", "gzip"),
        ("items.csv.gz", gzip.compress(b"item_id,title\n" * 99, mtime=0)[:-9], "gzip"),
        ("items.xlsx", b"x", "cannot tell"),
        ("items", b"x", "cannot tell"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    workspace: Workspace, name: str, content: bytes, words: str
) -> None:
    path = workspace.root.parent / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        load(workspace, path)
    assert str(path) in str(raised.value)
    assert not workspace.items.exists()


def test_a_missing_path_an_empty_directory_and_files_that_differ_are_errors(workspace: Workspace) -> None:
    directory = workspace.root.parent / "items"
    with pytest.raises(DataError, match="no file or directory"):
        load(workspace, directory)
    directory.mkdir()
    with pytest.raises(DataError, match="holds no files"):
        load(workspace, directory)
    pl.DataFrame({ITEM_ID: ["a"], TITLE: ["A"], TAGS: ["t"]}).write_parquet(directory / "a.parquet")
    pl.DataFrame({ITEM_ID: ["b"], TITLE: ["B"], TAGS: [["t"]]}).write_parquet(directory / "b.parquet")
    with pytest.raises(DataError, match="same types"):
        load(workspace, directory)


def test_a_column_of_bytes_is_an_error(workspace: Workspace) -> None:
    path = workspace.root.parent / "items.parquet"
    pl.DataFrame({ITEM_ID: ["cup"], TITLE: ["Cup"], "image": [b"\xff"]}).write_parquet(path)
    with pytest.raises(DataError, match="'image'"):
        load(workspace, path)


def test_repeated_event_ids_are_duplicates_in_the_file_and_in_the_log(workspace: Workspace) -> None:
    second = {**VIEW, EVENT_ID: "e2", EVENT_TYPE: "click"}
    first = load(workspace, events=[VIEW, {**VIEW, EVENT_TYPE: "like"}], max_reject_share=0.0)
    again = load(workspace, events=[VIEW, second], max_reject_share=0.0)
    assert (first.events.accepted, first.events.duplicates) == (1, 1)
    assert (again.events.accepted, again.events.duplicates) == (1, 1)
    assert logged(workspace)[EVENT_TYPE].to_list() == ["view", "click"]


def test_an_absent_event_id_is_a_hash_of_what_the_event_says(workspace: Workspace) -> None:
    bare = {key: value for key, value in VIEW.items() if key != EVENT_ID}
    rows = [
        {**bare, PRICE: 2.5, POSITION: 3},
        {**bare, EVENT_ID: "own"},
        {**bare, RECEIVED_TIME: 1_714_557_600_001},
        bare,
    ]
    summary = load(workspace, events=rows)
    ten = str(NOW_MS - 2 * 3_600_000)
    (price_bits,) = struct.unpack("<q", struct.pack("<d", 2.5))
    keys = [
        ("view", "ann", "cup", ten, "", "", str(price_bits), "", "3", ""),
        ("view", "ann", "cup", ten, *[""] * 6),
    ]
    expected = {hashlib.sha256("\x1f".join(key).encode()).hexdigest()[:32] for key in keys}
    assert set(logged(workspace)[EVENT_ID]) == expected | {"own"}
    assert summary.events.duplicates == 1


def test_items_and_users_replace_those_of_the_same_id(workspace: Workspace) -> None:
    users = workspace.root.parent / "users.csv"
    load(workspace, [CUP, {ITEM_ID: "pan", TITLE: "Pan"}])
    users.write_text("user_id,age,updated_time\nbob,40,2024-01-01\nann,30,\n")
    load(workspace, [{ITEM_ID: "cup", TITLE: "Red cup"}, {ITEM_ID: "ape", TITLE: "Ape"}], users=users)
    users.write_text("user_id,age\nann,31\nann,32\n")
    summary = load(workspace, users=users)
    titles = read_items(workspace).select(ITEM_ID, TITLE).rows()
    assert titles == [("ape", "Ape"), ("cup", "Blue cup"), ("pan", "Pan")]
    found = read_users(workspace)
    assert found.select(USER_ID, ATTRIBUTES).rows() == [
        ("ann", [{"key": "age", "value": "31"}]),
        ("bob", [{"key": "age", "value": "40"}]),
    ]
    assert found[UPDATED_TIME].to_list() == [None, datetime(2024, 1, 1, tzinfo=UTC)]
    assert summary.users is not None
    assert summary.users.reasons == {"user_id came before in the same data": 1}


def test_events_may_name_items_of_an_earlier_ingest(workspace: Workspace) -> None:
    load(workspace)
    summary = load(workspace, [{ITEM_ID: "pan", TITLE: "Pan"}], [{**VIEW, EVENT_ID: "e2"}])
    assert summary.events.accepted == 1


def test_each_table_may_come_alone(workspace: Workspace) -> None:
    given = workspace.root.parent
    given.mkdir(parents=True, exist_ok=True)
    events = jsonl(given / "events.jsonl", [VIEW, {**VIEW, EVENT_ID: "e2", ITEM_ID: "unknown"}])
    with pytest.raises(DataError, match="holds no items"):
        ingest(workspace, None, events, now_ms=NOW_MS)
    alone = ingest(workspace, jsonl(given / "items.jsonl", [CUP]), None, now_ms=NOW_MS)
    assert (alone.items.accepted, alone.events.read, alone.users) == (1, 0, None)
    alone = ingest(workspace, None, events, now_ms=NOW_MS, max_reject_share=0.5)
    assert (alone.items.read, alone.events.accepted, alone.events.rejected) == (0, 1, 1)
    alone = ingest(workspace, None, None, jsonl(given / "users.jsonl", [{USER_ID: "ann"}]), now_ms=NOW_MS)
    assert alone.users is not None
    assert (alone.items.read, alone.events.read, alone.users.accepted) == (0, 0, 1)
    assert read_items(workspace)[ITEM_ID].to_list() == ["cup"]
    assert logged(workspace)[EVENT_ID].to_list() == [VIEW[EVENT_ID]]
    assert read_users(workspace)[USER_ID].to_list() == ["ann"]


def test_the_same_ingest_twice_changes_nothing(workspace: Workspace) -> None:
    load(workspace)
    before = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}
    load(workspace)
    assert {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()} == before


def test_too_many_bad_rows_publish_nothing_and_say_where_they_lie(workspace: Workspace) -> None:
    load(workspace)
    good = [{**VIEW, EVENT_ID: f"g{i}"} for i in range(9)]
    with pytest.raises(DataError, match=r"1 of 10 events were rejected \(user_id is missing: 1\)") as raised:
        load(
            workspace,
            [{ITEM_ID: "pan", TITLE: "Pan"}],
            [*good, {**VIEW, USER_ID: None}],
            max_reject_share=0.09,
        )
    (path,) = workspace.rejects.iterdir()
    assert str(path) in str(raised.value)
    assert read_items(workspace)[ITEM_ID].to_list() == ["cup"]
    assert logged(workspace).height == 1
    summary = load(workspace, [CUP], [*good, {**VIEW, USER_ID: None}], max_reject_share=0.1)
    assert summary.events.accepted == 9


def test_columns_that_events_have_no_place_for_are_named(workspace: Workspace) -> None:
    summary = load(workspace, events=[{**VIEW, "mood": "good"}])
    assert summary.events.ignored_columns == ("mood",)


def test_times_that_look_like_seconds_are_taken_with_a_warning(workspace: Workspace) -> None:
    with capture_logs() as logs:
        load(workspace, events=[{**VIEW, EVENT_TIME: NOW_MS // 1000}])
    assert [line["event"].partition(":")[0] for line in logs] == ["all events lie before 1980"]
    assert logged(workspace).height == 1


def test_the_summary_is_one_json_document(workspace: Workspace) -> None:
    document = json.loads(load(workspace, [CUP, CUP]).to_json())
    assert document["items"]["reasons"] == {"item_id came before in the same data": 1}
    assert document["items"]["read"] == 2
    assert document["users"] is None
    assert document["seconds"] >= 0


def test_other_formats_and_impossible_shares_are_errors_of_the_configuration(workspace: Workspace) -> None:
    nowhere = Path("nowhere.csv")
    with pytest.raises(ConfigError, match="recsys"):
        ingest(workspace, nowhere, nowhere, format="shop")
    with pytest.raises(ConfigError, match="no file is given"):
        ingest(workspace, None, None)
    with pytest.raises(ConfigError, match="0 to 1"):
        ingest(workspace, nowhere, nowhere, max_reject_share=1.5)


def test_a_workspace_without_items_says_what_to_run(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="recsys ingest"):
        read_items(workspace)
    assert read_users(workspace).is_empty()


def test_a_damaged_catalogue_is_an_error_of_the_data(workspace: Workspace) -> None:
    load(workspace)
    (path,) = workspace.items.iterdir()
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged"):
        read_items(workspace)


def test_the_clock_is_the_machines_unless_told(workspace: Workspace) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    items = jsonl(workspace.root.parent / "items.jsonl", [CUP])
    events = jsonl(workspace.root.parent / "events.jsonl", [{**VIEW, EVENT_TIME: soon.isoformat()}])
    with pytest.raises(DataError, match="in the future"):
        ingest(workspace, items, events)


SHOWN = {
    "event": "ranking",
    "id": "r1",
    "user": "ann",
    "timestamp": NOW_MS,
    "items": [{"id": "cup"}, {"id": "hat"}],
}
CLICKED = {
    "event": "interaction",
    "id": "c1",
    "user": "ann",
    "item": "cup",
    "type": "click",
    "ranking": "r1",
    "timestamp": NOW_MS,
}
LISTED = {"event": "item", "item": "cup", "timestamp": NOW_MS, "fields": [{"name": "title", "value": "Cup"}]}
SAID = {"event": "user", "user": "ann", "timestamp": NOW_MS, "fields": [{"name": "age", "value": 30}]}


def load_log(
    workspace: Workspace, rows: Sequence[Row], items: Path | None = None, max_reject_share: float = 1.0
) -> IngestSummary:
    log = jsonl(workspace.root.parent / "log.jsonl", rows)
    return ingest(workspace, items, log, format="metarank", now_ms=NOW_MS, max_reject_share=max_reject_share)


def test_a_log_of_metaranks_brings_its_items_users_and_events(workspace: Workspace) -> None:
    summary = load_log(workspace, [LISTED, SAID, SHOWN, CLICKED])
    assert read_items(workspace).select(ITEM_ID, TITLE).rows() == [("cup", "Cup")]
    assert read_users(workspace)[ATTRIBUTES].to_list() == [[{"key": "age", "value": "30"}]]
    events = logged(workspace).select(EVENT_ID, EVENT_TYPE, ITEM_ID, LIST_ID, POSITION, EVENT_TIME)
    assert events.rows() == [
        ("c1", "click", "cup", "r1", 0, NOW),
        ("r1/0", "impression", "cup", "r1", 0, NOW),
    ]
    assert summary.events.reasons == {"item_id is not in the catalogue": 1}


def test_every_line_of_a_log_is_counted_and_every_refused_one_kept(workspace: Workspace) -> None:
    untitled = {**LISTED, "item": "pan", "fields": []}
    unknown = {**CLICKED, "id": "c2", "type": "teleport"}
    nameless = {"event": "ranking", "timestamp": NOW_MS, "items": [{"id": "cup"}]}
    summary = load_log(workspace, [LISTED, LISTED, untitled, CLICKED, CLICKED, unknown, nameless])
    found = {name: getattr(summary, name) for name in ("items", "events")}
    counts = {name: (t.read, t.accepted, t.rejected, t.duplicates) for name, t in found.items()}
    assert counts == {"items": (3, 1, 1, 1), "events": (4, 1, 2, 1)}
    assert found["items"].reasons == {"title is missing": 1}
    refused = reasons_of(workspace, "events")
    assert refused[0] == (nameless, "id: Field required")
    assert refused[1][1].startswith("event_type is not one of impression")


def test_a_log_of_metaranks_can_rest_on_a_catalogue_that_is_there(workspace: Workspace) -> None:
    load(workspace)
    summary = load_log(workspace, [CLICKED], max_reject_share=0.0)
    assert (summary.items.read, summary.events.accepted, summary.users) == (0, 1, None)
    again = load_log(workspace, [CLICKED], jsonl(workspace.root.parent / "more.jsonl", [LISTED]))
    assert (again.items.accepted, again.events.duplicates) == (1, 1)
    assert read_items(workspace)[TITLE].to_list() == ["Cup"]


def test_a_log_of_metaranks_may_be_given_as_items_alone(workspace: Workspace) -> None:
    items = jsonl(workspace.root.parent / "listed.jsonl", [LISTED, CLICKED])
    summary = ingest(workspace, items, None, format="metarank", now_ms=NOW_MS)
    assert (summary.items.accepted, summary.events.accepted) == (1, 1)
    assert logged(workspace).height == 1


def test_fields_that_events_have_no_place_for_are_named(workspace: Workspace) -> None:
    summary = load_log(workspace, [LISTED, {**CLICKED, "fields": [{"name": "mood", "value": "good"}]}])
    assert summary.events.ignored_columns == ("mood",)
