"""Tests of the buffer's file where the disk fails it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recsys.errors import IntakeError
from serving.event_buffer import SqliteEventBuffer
from tests.serving.small_shop import make_event


def test_a_full_disk_refuses_and_space_mends_it(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("a")]).result()
        with closing(sqlite3.connect(tmp_path / "b.sqlite")) as other:
            pages = other.execute("PRAGMA page_count").fetchone()[0]
        buffer._file._connection.execute(f"PRAGMA max_page_count = {pages}")
        too_much = [make_event(f"x{n}", item_id="i" * 200) for n in range(200)]
        with pytest.raises(IntakeError, match="full"):
            buffer.append(too_much).result()
        assert [e.event.event_id for e in buffer.since(0, 10)] == ["a"]
        buffer._file._connection.execute("PRAGMA max_page_count = 1000000")
        assert buffer.append(too_much).result()[0] == 2


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(IntakeError, match="writable"):
        SqliteEventBuffer(tmp_path / "state" / "b.sqlite")


def test_a_file_that_is_no_buffer_is_reported(tmp_path: Path) -> None:
    (tmp_path / "b.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(IntakeError, match="does not open"):
        SqliteEventBuffer(tmp_path / "b.sqlite")
