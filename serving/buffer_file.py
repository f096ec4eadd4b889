"""The SQLite file of the event buffer: its tables, its transactions, and what a failing disk means to it."""

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import structlog

from recsys.errors import DiskFullError, IntakeError
from serving.deleted_pages import overwrite_deleted, truncate_journal
from serving.event import Event
from serving.wal_check import commits_in, num_lost

STORED = (*(field.name for field in fields(Event)), "counts_for")
"""Columns of ``events`` after the sequence number: the fields of an event, and of ``BufferedEvent``."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(STORED)}, UNIQUE (event_id)
);
CREATE TABLE IF NOT EXISTS left_ids (event_id PRIMARY KEY, received_time) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS left_ids_time ON left_ids (received_time);
CREATE TABLE IF NOT EXISTS claim (first, last);
CREATE TABLE IF NOT EXISTS identity (buffer_id);
CREATE TABLE IF NOT EXISTS merges (
    visitor, merge_time, user_id, sequence, PRIMARY KEY (visitor, merge_time)
) WITHOUT ROWID;
"""
_BUSY_SECONDS = 5.0
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the latter where the first write finds no room
_log = structlog.get_logger(__name__)


class BufferFile:
    """One connection to the file, in WAL mode; any thread may call any method."""

    def __init__(self, path: Path, *, in_memory: bool = False) -> None:
        """Open the file, which is created when absent.

        Args:
            path: The file, in ``Workspace.state``.
            in_memory: Keep nothing in it.

        Raises:
            IntakeError: It does not open.
        """
        self._lock = threading.Lock()
        self.has_failed = False
        """Whether there was an input or output error: what is written after that is not trusted to stay."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(Path(":memory:") if in_memory else path)
            self.buffer_id = _identify(self._connection)
            """Tells this buffer's sequence numbers from another's."""
        except (sqlite3.Error, OSError) as error:
            raise IntakeError(
                f"the event buffer {path} does not open: {error}; see that it is writable"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Alone with the file; on disk when it ends, and undone when anything is raised.

        Raises:
            DiskFullError: There is no room; with some, the next one may go well.
            IntakeError: The file cannot be read or written.
        """
        try:
            with self._lock, self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name in _FULL:
                raise DiskFullError(
                    f"the event buffer has no room: {error}; make some on its disk"
                ) from error
            self.has_failed = self.has_failed or name.startswith("SQLITE_IOERR")
            raise IntakeError(f"the event buffer failed: {error}; see that the disk has space") from error

    def rewrite(self) -> None:
        """Move what was overwritten in the file's journal into the file, so that the journal forgets it."""
        with self._lock:
            truncate_journal(self._connection)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    log = path.with_name(f"{path.name}-wal")
    commits = commits_in(log)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    overwrite_deleted(connection)
    if commits:  # the last process crashed, or another one runs
        _report_lost(connection, log, commits)
    connection.executescript(_SCHEMA)
    if "counts_for" not in {row[1] for row in connection.execute("PRAGMA table_info (events)")}:
        connection.execute("ALTER TABLE events ADD COLUMN counts_for")  # a file of an earlier version
    return connection


def _report_lost(connection: sqlite3.Connection, log: Path, commits: list[int]) -> None:
    """Say so when acknowledged commits cannot be read any more."""
    _, num_frames, _ = connection.execute("PRAGMA wal_checkpoint (PASSIVE)").fetchone()
    if num_frames >= 0 and (number := num_lost(commits, num_frames)):
        _log.error("the event buffer is damaged; commits of events are lost", file=log.name, number=number)


def _identify(connection: sqlite3.Connection) -> str:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        known = connection.execute("SELECT buffer_id FROM identity").fetchone()
        if known is None:
            known = (uuid.uuid4().hex,)
            connection.execute("INSERT INTO identity VALUES (?)", known)
    return str(known[0])
