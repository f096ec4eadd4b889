"""Tests of telling a torn end of SQLite's write-ahead log from damage before it."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.wal_check import commits_in, num_lost

COMMITS = 5


@pytest.fixture
def crashed(tmp_path: Path) -> Iterator[Path]:
    """A database as a killed process leaves it: with all commits in its write-ahead log."""
    alive, left = tmp_path / "alive.sqlite", tmp_path / "left.sqlite"
    with closing(sqlite3.connect(alive, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        for number in range(COMMITS - 1):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        for end in ("", "-wal"):
            shutil.copy(f"{alive}{end}", f"{left}{end}")
        yield left


def wal(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def lost(database: Path) -> int:
    """What an opening of the database finds to be gone."""
    commits = commits_in(wal(database))
    with closing(sqlite3.connect(database)) as connection:
        _, num_frames, _ = connection.execute("PRAGMA wal_checkpoint (PASSIVE)").fetchone()
    return num_lost(commits, num_frames)


def test_a_whole_log_has_lost_nothing(crashed: Path) -> None:
    assert len(commits_in(wal(crashed))) >= COMMITS
    assert lost(crashed) == 0


def test_a_torn_end_was_never_acknowledged(crashed: Path) -> None:
    raw = wal(crashed).read_bytes()
    wal(crashed).write_bytes(raw[:-100])
    assert lost(crashed) == 0


def test_a_flipped_byte_in_the_middle_loses_the_commits_behind_it(crashed: Path) -> None:
    raw = bytearray(wal(crashed).read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    wal(crashed).write_bytes(raw)
    assert lost(crashed) >= 1


def test_no_log_and_a_log_cut_within_its_header_hold_no_commit(tmp_path: Path) -> None:
    assert commits_in(tmp_path / "absent-wal") == []
    (tmp_path / "cut-wal").write_bytes(b"\x37\x7f")
    assert commits_in(tmp_path / "cut-wal") == []
    assert num_lost([], 0) == 0
    assert num_lost([1, 2, 3, 4], 2) == 1, "the last may be torn, the one before it was acknowledged"
