import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.datasets import prepare
from recsys.datasets.ranklens import read
from recsys.datasets.tables import Tables
from recsys.errors import ConfigError, DataError
from recsys.schema import (
    ATTRIBUTES,
    CREATED_TIME,
    DESCRIPTION,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    LIST_ID,
    POSITION,
    RECEIVED_TIME,
    SESSION_ID,
    TAGS,
    TITLE,
    USER_ID,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ranklens"
START = datetime(2021, 1, 1, tzinfo=UTC)

FILM: Mapping[str, object] = {
    "title": "Sabrina",
    "description": "An ugly duckling returns.",
    "genres": ["comedy", "romance"],
    "tags": ["paris", "romance"],
    "actors": ["harrison ford", "greg kinnear"],
    "director": "sydney pollack",
    "popularity": 16.892,
    "vote_avg": 6.1,
    "vote_cnt": 436.0,
    "budget": 0.0,
    "runtime": 127.0,
    "release_date": 818985600.0,
}
NEW_FILM = {**FILM, "title": "New", "release_date": 1_700_000_000.0, "writer": "ann"}


def line(event: str, number: str, **values: object) -> str:
    return json.dumps({"event": event, "id": number, "fields": [], **values})


def log(directory: Path) -> Path:
    """Write Metarank's log of two films and two lists of one time, the first in the file being the second."""
    shared = {"user": "u", "session": "s", "timestamp": "1636993834000"}
    films = {"7": FILM, "8": NEW_FILM}
    lines = [
        *(
            line(
                "item",
                f"i{film}",
                item=film,
                timestamp="1",
                fields=[{"name": n, "value": v} for n, v in known.items()],
            )
            for film, known in films.items()
        ),
        line("ranking", "b", items=[{"id": "7"}, {"id": "8"}], **shared),
        line("ranking", "a", items=[{"id": "8"}, {"id": "9"}], **shared),
        line("interaction", "c1", item="8", type="click", ranking="b", **shared),
        line("interaction", "c2", item="7", type="click", ranking="b", **shared),
    ]
    path = directory / "events.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def tables_of_it(directory: Path) -> Path:
    """Write the same as the three tables."""
    shared = {"user_id": "u", "session_id": "s", "ts_ms": 1_636_993_834_000}
    lists = [("b", ["7", "8"]), ("a", ["8", "9"])]
    pl.DataFrame([{"ranking_id": name, **shared, "items": items} for name, items in lists]).write_parquet(
        directory / "impressions.parquet"
    )
    clicks = [{"ranking_id": "b", **shared, "item_id": film, "type": "click"} for film in ("8", "7")]
    pl.DataFrame(clicks).write_parquet(directory / "clicks.parquet")
    films = [{"item_id": "7", **FILM, "writer": None}, {"item_id": "8", **NEW_FILM}]
    pl.DataFrame(films).write_parquet(directory / "items.parquet")
    return directory


@pytest.fixture
def little(tmp_path: Path) -> Tables:
    return read(log(tmp_path))


def test_lists_are_an_hour_apart_in_their_order(little: Tables) -> None:
    events = little.events
    assert events.schema == EVENT_SCHEMA
    shown = events.filter(pl.col(EVENT_TYPE) == "impression")
    assert shown.select(EVENT_ID, LIST_ID, ITEM_ID, POSITION, EVENT_TIME).rows() == [
        ("a/0", "a", "8", 0, START),
        ("a/1", "a", "9", 1, START),
        ("b/0", "b", "7", 0, START + timedelta(hours=1)),
        ("b/1", "b", "8", 1, START + timedelta(hours=1)),
    ]
    assert events.select(USER_ID, SESSION_ID).unique().rows() == [("u", "s")]
    assert events[EVENT_TIME].equals(events[RECEIVED_TIME])


def test_clicks_follow_their_list_second_by_second_in_their_order(little: Tables) -> None:
    clicks = little.events.filter(pl.col(EVENT_TYPE) == "click")
    hour = START + timedelta(hours=1)
    assert clicks.select(EVENT_ID, LIST_ID, ITEM_ID, POSITION, EVENT_TIME).rows() == [
        ("b/1/click", "b", "8", 1, hour + timedelta(seconds=1)),
        ("b/0/click", "b", "7", 0, hour + timedelta(seconds=2)),
    ]


def test_tags_run_from_the_general_to_the_particular(little: Tables) -> None:
    film = little.items.row(0, named=True)
    assert little.items.schema == ITEM_SCHEMA
    assert (film[ITEM_ID], film[TITLE], film[DESCRIPTION]) == ("7", "Sabrina", "An ugly duckling returns.")
    assert film[TAGS] == ["comedy", "romance", "paris", "harrison ford", "greg kinnear", "sydney pollack"]
    assert film[CREATED_TIME] == datetime(1995, 12, 15, tzinfo=UTC)


def test_what_is_known_of_a_film_is_kept_by_kind_and_an_unknown_budget_is_absent(little: Tables) -> None:
    kept = [
        {pair["key"]: pair["value"] for pair in pairs or []} for pairs in little.items[ATTRIBUTES].to_list()
    ]
    assert kept[0] == {
        "genre": "comedy, romance",
        "tag": "paris, romance",
        "actors": "harrison ford, greg kinnear",
        "director": "sydney pollack",
        "popularity": "16.892",
        "vote_avg": "6.1",
        "vote_cnt": "436",
        "runtime": "127",
    }
    assert kept[1]["writer"] == "ann"


def test_a_film_that_came_out_after_the_lists_has_its_date_as_an_attribute(little: Tables) -> None:
    film = little.items.row(1, named=True)
    assert film[CREATED_TIME] is None
    assert {"key": "release_date", "value": "1700000000"} in film[ATTRIBUTES]


def test_a_film_that_is_shown_but_not_described_is_named_by_its_id(little: Tables) -> None:
    assert little.items.select(ITEM_ID, TITLE, TAGS, ATTRIBUTES).row(2) == ("9", "Film 9", None, None)


def test_the_log_and_the_tables_give_the_same(tmp_path: Path, little: Tables) -> None:
    assert read(tmp_path).events.equals(little.events)  # a directory with the log
    from_tables = read(tables_of_it(tmp_path))
    assert from_tables.events.equals(little.events)
    assert from_tables.items.equals(little.items)


def test_it_is_prepared_for_ingest(tmp_path: Path) -> None:
    prepared = prepare("ranklens", log(tmp_path), tmp_path / "out")
    assert (prepared.num_items, prepared.num_events, prepared.users) == (3, 6, None)


def test_missing_and_other_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--source"):
        read()
    with pytest.raises(DataError, match=r"events\.jsonl\.gz"):
        read(tmp_path)
    tables_of_it(tmp_path)
    pl.DataFrame({"ranking_id": ["a"]}).write_parquet(tmp_path / "impressions.parquet")
    with pytest.raises(DataError, match="RankLens's columns"):
        read(tmp_path)
    path = tmp_path / "other.jsonl"
    path.write_text(line("ranking", "a", items=[{"id": "7"}], timestamp=1) + "\nnothing\n")
    with pytest.raises(DataError, match="1 lines"):
        read(path)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return read(SHARED)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no RankLens in shared/data beside the checkout")
def test_every_place_of_every_list_is_an_impression(tables: Tables) -> None:
    events = tables.events
    assert dict(events[EVENT_TYPE].value_counts().iter_rows()) == {"impression": 9_800 * 24, "click": 46_125}
    assert events[EVENT_ID].n_unique() == events.height
    assert events[POSITION].unique().sort().to_list() == list(range(24))
    assert events[EVENT_TIME].max() == START + timedelta(hours=9_799, seconds=8)
    assert events.join(tables.items, on=ITEM_ID, how="anti").is_empty()
    assert tables.items.height == 2_512 + 8
    assert tables.items[CREATED_TIME].null_count() == 8


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no RankLens in shared/data beside the checkout")
def test_metaranks_own_log_gives_what_the_tables_give(tables: Tables) -> None:
    from_log = read(SHARED / "events.jsonl.gz")
    assert from_log.events.equals(tables.events)
    assert from_log.items.equals(tables.items)
