"""Tests of the log of served lists."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from recsys.errors import IntakeError
from recsys.schema import DAY_MS, SERVED_LIST_SCHEMA
from recsys.table_sweep import sweep
from recsys.tombstones import Tombstones
from recsys.workspace import Workspace
from serving import list_export
from serving import list_log as module
from serving.list_export import ListExport, export_lists
from serving.list_log import ListLog
from serving.served_list import COLUMNS, ServedList, served_frame
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


def _exported_by(path: Path) -> list[str | None]:
    return pl.read_parquet(path / "served_lists" / "**" / "*.parquet", hive_partitioning=False)[
        "subject"
    ].to_list()


def test_what_a_server_exports_after_another_erased_somebody_leaves_that_person_out(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    state = tmp_path / "own_disk" / "state"
    state.mkdir(parents=True)
    (tmp_path / "shared" / "state").symlink_to(state)  # as a volume of its own in one that is shared
    with opened(tmp_path / "shared") as log:
        log.add(LIST)
        log.add(replace(numbered(1), subject="erased"))
        log.add(replace(numbered(2, NOON + 2), subject="erased"))
        log.flush()
        workspace = Workspace(tmp_path / "shared")
        export = ListExport(log, workspace.served_lists, lambda: NOON, timedelta(days=14))
        tombstones = Tombstones(workspace.root)
        tombstones.add(["erased"], NOON + 1)
        assert sweep(workspace, tombstones) == 0
        asyncio.run(export.step())
        assert _exported_by(workspace.root) == [LIST.subject, "erased"], "the later list is a new person's"
        assert [one.list_id for one in log.of(["erased"])] == [numbered(2).list_id]
        tombstones.add(["erased"], NOON + 3)
        asyncio.run(export.step())
        assert log.of(["erased"]) == []
        assert sweep(workspace, tombstones) == 1


def test_lists_of_erased_people_alone_make_no_file_and_hold_nothing_up(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        log.add(replace(numbered(1), subject="erased"))
        log.flush()
        Tombstones(tmp_path).add(["erased"], NOON)
        assert export_lists(log, tmp_path / "served_lists") == 0
        log.add(LIST)
        log.flush()
        assert export_lists(log, tmp_path / "served_lists") == 1
        assert _exported_by(tmp_path) == [LIST.subject]


def test_a_sweep_waits_for_an_export_that_began_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, tombstones = Workspace(tmp_path), Tombstones(tmp_path)
    sweeper = Thread(target=sweep, args=(workspace, tombstones))

    def erasing(lists: list[ServedList]) -> pl.DataFrame:
        tombstones.add(["erased"], NOON)
        sweeper.start()
        return served_frame(lists)

    with opened(tmp_path) as log:
        log.add(replace(numbered(1), subject="erased"))
        log.flush()
        monkeypatch.setattr(list_export, "served_frame", erasing)
        export_lists(log, workspace.served_lists)
    sweeper.join()
    assert _exported_by(tmp_path) == []


def test_an_export_that_was_cut_short_is_not_doubled_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as log:
        log.add(numbered(1))
        log.flush()
        with monkeypatch.context() as patch:
            patch.delattr(ListLog, "mark_exported")
            with pytest.raises(AttributeError):
                export_lists(log, tmp_path / "served_lists")
        log.add(numbered(2))
        log.flush()
        assert export_lists(log, tmp_path / "served_lists") == 2
    assert len(_exported_by(tmp_path)) == 2
