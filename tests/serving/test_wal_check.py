"""Tests of what is told of a write-ahead log, with SQLite's own."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from serving.wal_check import commits_in, num_lost


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A write-ahead log of five commits, as a crash leaves it."""
    source = tmp_path / "running.sqlite"
    with closing(sqlite3.connect(source)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x)")
        database.commit()
        for number in range(4):
            database.execute("INSERT INTO t VALUES (?)", (number,))
            database.commit()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{source}{suffix}", tmp_path / f"crashed.sqlite{suffix}")
    return tmp_path / "crashed.sqlite-wal"


def frames_read(log: Path) -> int:
    """Frames that SQLite reads of a log."""
    with closing(sqlite3.connect(log.with_name("crashed.sqlite"))) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchall()
        _, frames, _ = database.execute("PRAGMA wal_checkpoint").fetchone()
    return int(frames)


def test_a_whole_log_has_lost_nothing(log: Path) -> None:
    commits = commits_in(log)
    assert len(commits) == 5
    assert num_lost(commits, frames_read(log)) == 0


def test_a_torn_end_is_no_loss_since_nobody_was_told_of_it(log: Path) -> None:
    commits = commits_in(log)
    raw = log.read_bytes()
    log.write_bytes(raw[:-1000] + bytes(1000))
    assert num_lost(commits, frames_read(log)) == 0


def test_damage_before_the_end_loses_what_follows(log: Path) -> None:
    commits = commits_in(log)
    raw = bytearray(log.read_bytes())
    frame = (len(raw) - 32) // max(commits)
    raw[32 + (commits[2] - 1) * frame + 100] ^= 0xFF  # in the page of the third commit
    log.write_bytes(raw)
    assert num_lost(commits, frames_read(log)) == 2  # the third and fourth; the fifth may have been torn


def test_no_log_and_one_of_nothing_have_no_commits(tmp_path: Path) -> None:
    assert commits_in(tmp_path / "none") == []
    (tmp_path / "short").write_bytes(b"\x37\x7f\x06\x82")
    assert commits_in(tmp_path / "short") == []
