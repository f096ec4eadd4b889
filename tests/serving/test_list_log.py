"""Tests of the log of served lists."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import IntakeError
from recsys.schema import DAY_MS, SERVED_LIST_SCHEMA
from serving import list_log as module
from serving.list_export import export_lists
from serving.list_log import ListLog
from serving.served_list import COLUMNS, ServedList
from tests.serving.small_shop import NOON

LIST = ServedList(
    list_id="a" * 32,
    served_time=NOON,
    subject="\x1fvisitor:v",
    placement="home",
    request_id="r",
    model_version="m",
    service_level="FULL",
    item_ids=("eggs", "nul\x00and ünïcode"),
    scores=(0.1, -2.5),
    propensities=(1.0, 0.25),
    first_position=20,
    first_list_id="b" * 32,
    arms=(("tuned", "control"),),
    forced=("tuned",),
    policy="drawn",
    server="c" * 16,
    server_sequence=7,
    versions=(2,),
    substituted=("tuned",),
    latency_ms=12.5,
)


def numbered(number: int, time_ms: int = NOON) -> ServedList:
    return replace(LIST, list_id=f"{number:032x}", served_time=time_ms)


@contextmanager
def opened(path: Path) -> Iterator[ListLog]:
    with closing(ListLog(path / "state" / "lists.sqlite")) as log:
        yield log


def test_a_list_comes_back_as_it_was_before_and_after_it_is_written(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add(LIST)
        assert log.find([LIST.list_id, "c" * 32]) == {LIST.list_id: LIST}
        log.flush()
        assert log.find([LIST.list_id]) == {LIST.list_id: LIST}
    with opened(tmp_path) as log:
        assert log.find([LIST.list_id]) == {LIST.list_id: LIST}
        assert log.find([]) == {}


def test_a_file_of_before_is_read_on_and_written_on(tmp_path: Path) -> None:
    path, before = tmp_path / "state" / "lists.sqlite", COLUMNS[:13]
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as old:
        old.execute(
            f"CREATE TABLE lists (sequence INTEGER PRIMARY KEY, {', '.join(before)}, UNIQUE (list_id))"
        )
        marks = ", ".join("?" * len(before))
        old.execute(f"INSERT INTO lists ({', '.join(before)}) VALUES ({marks})", LIST.to_row()[:13])
        old.commit()
    with opened(tmp_path) as log:
        before_that = replace(LIST, forced=(), policy="", server="", server_sequence=0)
        plain = replace(before_that, versions=(), substituted=None, latency_ms=None)
        assert log.find([LIST.list_id]) == {LIST.list_id: plain}
        log.add(numbered(1))
        log.flush()
        assert log.find([numbered(1).list_id]) == {numbered(1).list_id: numbered(1)}


def test_processes_share_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as other:
        for number in range(1200):
            (one if number % 2 else other).add(numbered(number))
        one.flush()
        other.flush()
        ids = [numbered(number).list_id for number in range(1200)]
        assert one.find(ids).keys() == other.find(ids).keys() == set(ids)


def test_while_the_file_is_locked_lists_wait_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.01)
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    with opened(tmp_path) as log:
        locker = sqlite3.connect(tmp_path / "state" / "lists.sqlite", isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        for number in range(5):
            log.add(numbered(number))
        with pytest.raises(IntakeError, match="disk has space"):
            log.flush()
        assert log.num_lost == 2
        assert len(log.find(numbered(number).list_id for number in range(3))) == 3
        locker.execute("ROLLBACK")
        locker.close()
        log.flush()
        assert len(log.find(numbered(number).list_id for number in range(5))) == 3


def test_a_list_that_cannot_be_written_takes_no_other_with_it(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for number in range(9):
            log.add(numbered(number, 1 << 70 if number == 4 else NOON))
        log.flush()
        assert len(log.find(numbered(number).list_id for number in range(9))) == 8
        assert log.num_lost == 1


def test_lists_are_exported_once_and_by_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "served_lists"
    with opened(tmp_path) as log:
        log.add(LIST)
        log.add(numbered(1, NOON + DAY_MS))
        log.flush()
        with monkeypatch.context() as patch:
            patch.delattr(ListLog, "mark_exported")
            with pytest.raises(AttributeError):
                export_lists(log, target)
        assert export_lists(log, target) == 2
        log.add(numbered(2))
        log.flush()
        assert export_lists(log, target) == 1
        assert export_lists(log, target) == 0
    exported = pl.read_parquet(target / "day=*" / "*.parquet", hive_partitioning=False)
    assert exported.schema == SERVED_LIST_SCHEMA
    assert exported["list_id"].n_unique() == exported.height == 3
    row = exported.row(by_predicate=pl.col("list_id") == LIST.list_id, named=True)
    assert (tuple(row["item_ids"]), tuple(row["propensities"])) == (LIST.item_ids, LIST.propensities)
    assert row["arms"] == [{"experiment": "tuned", "arm": "control", "version": 2}]
    assert row["substituted"] == ["tuned"]
    assert {path.name for path in target.glob("day=*")} == {"day=2017-11-30", "day=2017-12-01"}


def test_servers_with_logs_of_their_own_export_into_one_directory(tmp_path: Path) -> None:
    for server in range(2):
        with opened(tmp_path / str(server)) as log:
            log.add(numbered(server))
            log.flush()
            export_lists(log, tmp_path / "served_lists")
    exported = pl.read_parquet(tmp_path / "served_lists" / "day=*" / "*.parquet", hive_partitioning=False)
    assert set(exported["list_id"]) == {numbered(server).list_id for server in range(2)}


def test_only_what_was_exported_is_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add(numbered(1))
        log.flush()
        assert log.forget(NOON + 1) == 0
        export_lists(log, tmp_path / "served_lists")
        assert log.forget(NOON) == 0
        assert log.forget(NOON + 1) == 1
        assert not log.find([numbered(1).list_id])


def test_a_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(IntakeError, match="does not open"), opened(tmp_path):
        pass
