"""Tests of taking erased and old people out of the tables beside the event log."""

import json
from pathlib import Path

import polars as pl
import pytest

from recsys.readers import ROW
from recsys.schema import TIMESTAMP, UPDATED_TIME, USER_ID
from recsys.table_sweep import drop_unreadable, prune_lists, rows_of, sweep
from recsys.tombstones import Tombstones
from recsys.workspace import Workspace

MIDNIGHT = 1_512_000_000_000
"""Start of 30 November 2017, UTC."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two users in the users table and among the refused rows, and a refused line that was no row."""
    found = Workspace(tmp_path)
    times = pl.Series(UPDATED_TIME, [MIDNIGHT, MIDNIGHT]).cast(TIMESTAMP)
    write(found.users / "00000001.parquet", pl.DataFrame({USER_ID: ["ada", "bob"]}).with_columns(times))
    rows = [json.dumps({USER_ID: "ada"}), json.dumps({USER_ID: "bob"}), "ada;broken", "bob;broken"]
    write(found.rejects / "events-1.parquet", pl.DataFrame({ROW: rows}))
    return found


def write(path: Path, table: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def test_without_tombstones_nothing_is_read(workspace: Workspace) -> None:
    assert sweep(workspace, Tombstones(workspace.root)) == 0


def test_an_erased_person_leaves_every_table_and_a_second_sweep_finds_nothing(workspace: Workspace) -> None:
    tombstones = Tombstones(workspace.root)
    tombstones.add(["ada"], MIDNIGHT)
    assert sweep(workspace, tombstones) == 2
    assert pl.read_parquet(workspace.users / "00000001.parquet")[USER_ID].to_list() == ["bob"]
    assert sweep(workspace, tombstones) == 0
    assert list(rows_of(workspace, {"ada"})) == []
    assert [table for table, _ in rows_of(workspace, {"bob"})] == ["users", "rejects"]


def test_rows_of_after_the_erasure_are_a_new_persons(workspace: Workspace) -> None:
    tombstones = Tombstones(workspace.root)
    tombstones.add(["ada"], MIDNIGHT - 1)
    assert sweep(workspace, tombstones) == 1, "the refused row, whose time nobody knows"
    assert pl.read_parquet(workspace.users / "00000001.parquet")[USER_ID].to_list() == ["ada", "bob"]


def test_refused_lines_that_name_somebody_go_and_rows_stay(workspace: Workspace) -> None:
    drop_unreadable(workspace, ["ada", ""])
    left = pl.read_parquet(workspace.rejects / "events-1.parquet")[ROW].to_list()
    assert left == [json.dumps({USER_ID: "ada"}), json.dumps({USER_ID: "bob"}), "bob;broken"]


def test_served_lists_of_whole_days_before_the_retention_go(workspace: Workspace) -> None:
    for day in ("2017-11-28", "2017-11-29", "2017-11-30"):
        write(workspace.served_lists / f"day={day}" / "lists-1-2.parquet", pl.DataFrame({"subject": ["ada"]}))
    assert prune_lists(workspace, MIDNIGHT) == 2, "the day itself is not over"
    assert prune_lists(workspace, MIDNIGHT + 86_400_000) == 1
