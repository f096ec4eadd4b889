"""The durable home of events between their receipt and the event log.

``SqliteEventBuffer`` serves one machine; a broker can stand behind the same protocol. Sequence numbers ascend
in the order of commits and are never used twice, so a reader that has seen number n has seen all below it.

The buffer also knows who each visitor turned out to be: what a visitor does after the login is stored as the
user's. Merges are kept for good, also when they have left for the log.
"""

import queue
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import structlog

from recsys.errors import DiskFullError, IntakeError
from recsys.fault_point import reach
from recsys.schema import DAY_MS
from recsys.tombstones import Tombstones
from serving.deleted_pages import overwrite_deleted, truncate_journal
from serving.event import MERGE, VISITOR_PREFIX, BufferedEvent, Event, Merge
from serving.event_intake import EventIntake
from serving.visitor_link import VisitorLink
from serving.wal_check import commits_in, num_lost

_log = structlog.get_logger(__name__)

BUFFER_FILE = "events.sqlite"
"""Name of the embedded buffer in ``Workspace.state``."""

DEDUPLICATION_DAYS = 30
"""How long the id of an event that has left for the log is remembered, counted back from the latest one."""


class EventBuffer(EventIntake, Protocol):
    """What state, log and erasure need of a durable buffer besides; any thread may call any method."""

    @property
    def buffer_id(self) -> str:
        """Tells this buffer's sequence numbers from another's."""
        ...

    def since(self, sequence: int, limit: int) -> list[BufferedEvent]:
        """At most ``limit`` records above ``sequence`` that have not left for the log, ascending."""
        ...

    def claim(self, through: int) -> tuple[int, int] | None:
        """Fix the range that leaves for the log next: first and last sequence, at most ``through``.

        The range stays the same, over restarts too, until it is released. ``None`` when nothing is there.
        """
        ...

    def release(self, last: int) -> None:
        """Forget the claimed events, whose last sequence is ``last``, but not their ids."""
        ...

    def latest_ms(self) -> int:
        """Latest effective time of the events that have not left for the log, 0 when there is none."""
        ...

    def span(self) -> tuple[int, int]:
        """First and last sequence number of the events that have not left for the log; (1, 0) for none."""
        ...

    def links(self) -> list[tuple[str, VisitorLink]]:
        """Visitors whose merge has left for the log, each with the latest one."""
        ...

    def learn(self, merges: Sequence[Merge]) -> None:
        """Know merges that the log holds, of another buffer or before this one."""
        ...

    def people(self) -> list[str]:
        """Everybody of whom the buffer knows anything, see ``serving.event.subject``."""
        ...

    def visitors_of(self, user_id: str) -> list[str]:
        """Which visitors a user was, as far as the buffer knows: each with its mark."""
        ...

    def of(self, subjects: Sequence[str]) -> list[BufferedEvent]:
        """Events and merges of some people that have not left for the log, ascending."""
        ...

    def erase(self, subjects: Sequence[str], through_ms: int, event_ids: Sequence[str] = ()) -> int:
        """Remove what some people did up to a time, on the disk too; how many events and merges went.

        Args:
            subjects: Ids as in ``user_id`` of events.
            through_ms: Milliseconds since the epoch.
            event_ids: Ids of these people's events that have left for the log, to be forgotten too.
        """
        ...


_COLUMNS = tuple(field.name for field in fields(Event))
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(_COLUMNS)}, counts_for, UNIQUE (event_id)
);
CREATE TABLE IF NOT EXISTS left_ids (event_id PRIMARY KEY, received_time) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS left_ids_time ON left_ids (received_time);
CREATE TABLE IF NOT EXISTS claim (first, last);
CREATE TABLE IF NOT EXISTS identity (buffer_id);
CREATE TABLE IF NOT EXISTS merges (
    visitor, merge_time, user_id, sequence, PRIMARY KEY (visitor, merge_time)
) WITHOUT ROWID;
"""
_STORED = (*_COLUMNS, "counts_for")
_INSERT = f"""
INSERT INTO events (sequence, {", ".join(_STORED)}) SELECT ?, {", ".join("?" * len(_STORED))}
WHERE NOT EXISTS (SELECT 1 FROM left_ids WHERE event_id = ?)
ON CONFLICT (event_id) DO NOTHING RETURNING sequence
"""
_SINCE = f"SELECT sequence, {', '.join(_STORED)} FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
_RANGE = """
SELECT MIN(sequence), MIN(MAX(sequence), MIN(sequence) + ? - 1) FROM events WHERE sequence <= ?
"""
_REMEMBER = "INSERT OR IGNORE INTO left_ids SELECT event_id, received_time FROM events WHERE sequence <= ?"
_FORGET = "DELETE FROM left_ids WHERE received_time < (SELECT MAX(received_time) FROM left_ids) - ?"
_MERGE_OF = "SELECT user_id FROM merges WHERE visitor = ? AND merge_time >= ? ORDER BY merge_time LIMIT 1"
_LATEST_MERGE = "SELECT user_id, merge_time FROM merges WHERE visitor = ? ORDER BY merge_time DESC LIMIT 1"
_LATELY = (
    "SELECT MAX(received_time) FROM (SELECT received_time FROM events ORDER BY sequence DESC LIMIT 1000)"
)
_LINKS = """
SELECT visitor, user_id, sequence, MAX(merge_time) FROM merges
WHERE sequence NOT IN (SELECT sequence FROM events WHERE event_type = ?) GROUP BY visitor
"""
_LATEST = "SELECT COALESCE(MAX(MIN(event_time, received_time)), 0) FROM events"
_SPAN = """
SELECT COALESCE((SELECT MIN(sequence) FROM events), 1), COALESCE((SELECT MAX(sequence) FROM events), 0)
"""

_OF = (
    f"SELECT sequence, {', '.join(_STORED)} FROM events "
    "WHERE user_id IN ({0}) OR counts_for IN ({0}) OR (event_type = 'merge' AND item_id IN ({0})) "
    "ORDER BY sequence"
)
_ERASE = (
    "DELETE FROM events WHERE (user_id IN ({0}) OR counts_for IN ({0}) "
    "OR (event_type = 'merge' AND item_id IN ({0}))) AND MIN(event_time, received_time) <= ?"
)
_PEOPLE = """
SELECT user_id FROM events UNION SELECT counts_for FROM events WHERE counts_for IS NOT NULL
UNION SELECT item_id FROM events WHERE event_type = 'merge' UNION SELECT visitor FROM merges
UNION SELECT user_id FROM merges
"""
_UNMERGE = "DELETE FROM merges WHERE (visitor IN ({0}) OR user_id IN ({0})) AND merge_time <= ?"

_REMEMBER_MS = DEDUPLICATION_DAYS * DAY_MS
_MAX_GROUP = 256  # batches in one commit
_MAX_CLAIM = 100_000  # events in one claimed range
_BUSY_SECONDS = 5.0
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the latter where the first write finds no room

_Numbered: TypeAlias = Sequence[tuple[int | None, Event | Merge]]
_Batch: TypeAlias = tuple[_Numbered, Future[list[int | None]]]


class SqliteEventBuffer:
    """Events in a SQLite file in WAL mode; one commit, one fsync, for all batches that wait at the time.

    After an input or output error the file is not trusted any more: appending raises until a restart.
    """

    def __init__(self, path: Path, *, in_memory: bool = False, remember_ms: int = _REMEMBER_MS) -> None:
        """Open a buffer.

        Args:
            path: The file, in ``Workspace.state``.
            in_memory: Keep nothing in the file, for whoever can have everything again.
            remember_ms: How long the id of an event that has left for the log is remembered, counted back
                from the latest one.
        """
        self._lock = threading.Lock()
        self._failed = False
        self._remember_ms = remember_ms
        self._tombstones = Tombstones(path.parent.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(Path(":memory:") if in_memory else path)
            self._buffer_id = _identify(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise IntakeError(
                f"the event buffer {path} does not open: {error}; see that it is writable"
            ) from error
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="event-buffer", daemon=True)
        self._writer.start()

    @property
    def buffer_id(self) -> str:
        """Tells this buffer's sequence numbers from another's."""
        return self._buffer_id

    @property
    def has_failed(self) -> bool:
        """Whether it takes nothing any more until a restart."""
        return self._failed

    def append(self, records: Sequence[Event | Merge]) -> Future[list[int | None]]:
        """Store records; the future ends when they are on disk, see ``EventIntake.append``."""
        return self.append_numbered([(None, record) for record in records])

    def append_numbered(
        self, records: Sequence[tuple[int | None, Event | Merge]]
    ) -> Future[list[int | None]]:
        """Store records under sequence numbers that ascend and were never used; ``None`` is the next one."""
        future: Future[list[int | None]] = Future()
        future.set_running_or_notify_cancel()  # a caller that gives up cannot take its events back
        if self._closed:
            future.set_exception(IntakeError("the event buffer is closed; the server is stopping"))
        else:
            self._queue.put((records, future))
        return future

    def since(self, sequence: int, limit: int) -> list[BufferedEvent]:
        """At most ``limit`` records above ``sequence`` that have not left for the log, ascending."""
        with self._transaction() as connection:
            rows = connection.execute(_SINCE, (sequence, limit)).fetchall()
        return [BufferedEvent(row[0], Event(*row[1:-1]), row[-1]) for row in rows]

    def claim(self, through: int) -> tuple[int, int] | None:
        """Fix the range that leaves for the log next, see ``EventBuffer.claim``."""
        with self._transaction() as connection:
            claimed = connection.execute("SELECT first, last FROM claim").fetchone()
            if claimed is None:
                claimed = connection.execute(_RANGE, (_MAX_CLAIM, through)).fetchone()
                if claimed[0] is None:
                    return None
                connection.execute("INSERT INTO claim VALUES (?, ?)", claimed)
        return int(claimed[0]), int(claimed[1])

    def release(self, last: int) -> None:
        """Forget the claimed events, whose last sequence is ``last``, but not their ids."""
        with self._transaction() as connection:
            connection.execute(_REMEMBER, (last,))
            connection.execute("DELETE FROM events WHERE sequence <= ?", (last,))
            connection.execute(_FORGET, (self._remember_ms,))
            connection.execute("DELETE FROM claim WHERE last = ?", (last,))

    def latest_ms(self) -> int:
        """Latest effective time of the events that have not left for the log, 0 when there is none."""
        with self._transaction() as connection:
            return int(connection.execute(_LATEST).fetchone()[0])

    def span(self) -> tuple[int, int]:
        """First and last sequence number of the events that have not left for the log; (1, 0) for none."""
        with self._transaction() as connection:
            first, last = connection.execute(_SPAN).fetchone()
        return int(first), int(last)

    def links(self) -> list[tuple[str, VisitorLink]]:
        """Visitors whose merge has left for the log, each with the latest one."""
        with self._transaction() as connection:
            rows = connection.execute(_LINKS, (MERGE,)).fetchall()
        return [(visitor, VisitorLink(user_id, sequence)) for visitor, user_id, sequence, _ in rows]

    def learn(self, merges: Sequence[Merge]) -> None:
        """Know merges that the log holds, of another buffer or before this one."""
        rows = [(merge.visitor, merge.merge_time, merge.user_id, 0) for merge in merges]
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO merges VALUES (?, ?, ?, ?)", rows)

    def remember(self, ids: Iterable[tuple[str, int]]) -> None:
        """Know events that the log holds, by their ids and when they were received, as if they had left."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO left_ids VALUES (?, ?)", ids)

    def people(self) -> list[str]:
        """Everybody of whom the buffer knows anything."""
        with self._transaction() as connection:
            return [str(one) for (one,) in connection.execute(_PEOPLE)]

    def visitors_of(self, user_id: str) -> list[str]:
        """Which visitors a user was, as far as the buffer knows."""
        with self._transaction() as connection:
            found = connection.execute("SELECT DISTINCT visitor FROM merges WHERE user_id = ?", (user_id,))
            return [str(visitor) for (visitor,) in found]

    def of(self, subjects: Sequence[str]) -> list[BufferedEvent]:
        """Events and merges of some people that have not left for the log, ascending."""
        with self._transaction() as connection:
            rows = connection.execute(_OF.format(_marks(subjects)), [*subjects] * 3).fetchall()
        return [BufferedEvent(row[0], Event(*row[1:-1]), row[-1]) for row in rows]

    def erase(self, subjects: Sequence[str], through_ms: int, event_ids: Sequence[str] = ()) -> int:
        """Remove what some people did up to a time, see ``EventBuffer.erase``."""
        marks = _marks(subjects)
        with self._transaction() as connection:
            gone = connection.execute(_ERASE.format(marks), (*subjects, *subjects, *subjects, through_ms))
            num_gone = gone.rowcount
            connection.execute(_UNMERGE.format(marks), (*subjects, *subjects, through_ms))
            connection.executemany("DELETE FROM left_ids WHERE event_id = ?", [(one,) for one in event_ids])
        self._rewrite()
        return num_gone

    def close(self) -> None:
        """Finish what was handed in and refuse the rest."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        self._connection.close()

    def _write(self) -> None:
        """Commit batches in groups until ``close``; the writer thread's whole life."""
        open_ = True
        while open_:
            group = [self._queue.get()]
            while not self._queue.empty() and len(group) < _MAX_GROUP:
                group.append(self._queue.get())
            open_ = None not in group
            batches = [batch for batch in group if batch is not None]
            self._store_all(batches)

    def _store_all(self, batches: Sequence[_Batch]) -> None:
        """Commit batches together, or each by itself when one of them cannot be stored."""
        try:
            results = self._commit([records for records, _ in batches])
        except Exception as error:  # noqa: BLE001  # the thread must outlive what cannot be stored
            if len(batches) > 1 and not isinstance(error, IntakeError):
                for batch in batches:
                    self._store_all([batch])
                return
            for _, future in batches:
                future.set_exception(error)
        else:
            for (_, future), result in zip(batches, results, strict=True):
                future.set_result(result)

    def _commit(self, batches: Iterable[_Numbered]) -> list[list[int | None]]:
        if self._failed:
            raise IntakeError(
                "an earlier write failed, so the event buffer is closed; mend the disk and restart"
            )
        with self._transaction() as connection:
            has_erased = len(self._tombstones) > 0
            stored = [
                [
                    None if has_erased and self._is_erased(record) else _store(connection, record, number)
                    for number, record in records
                ]
                for records in batches
            ]
            reach("buffer-stored")
        reach("buffer-committed")
        return stored

    def _is_erased(self, record: Event | Merge) -> bool:
        """Whether a record is of before the erasure of its person, whoever handed it in and whenever."""
        if isinstance(record, Merge):
            people: tuple[str, ...] = (record.visitor, record.user_id)
            return any(self._tombstones.erased_ms(one) >= record.merge_time for one in people)
        return self._tombstones.erased_ms(record.user_id) >= record.effective_ms

    def _rewrite(self) -> None:
        """Move what was overwritten in the file's journal into the file, so that the journal forgets it."""
        with self._lock:
            truncate_journal(self._connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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
            self._failed = self._failed or name.startswith("SQLITE_IOERR")
            raise IntakeError(f"the event buffer failed: {error}; see that the disk has space") from error


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


def _marks(subjects: Sequence[str]) -> str:
    return ", ".join("?" * len(subjects))


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


def _store(connection: sqlite3.Connection, record: Event | Merge, number: int | None) -> int | None:
    if isinstance(record, Merge):
        return _store_merge(connection, record, number)
    if not record.user_id.startswith(VISITOR_PREFIX):
        return _insert(connection, record, None, number)
    [owner] = connection.execute(_MERGE_OF, (record.user_id, record.effective_ms)).fetchone() or (None,)
    if owner is not None:  # it happened before the login, so the log says it of the visitor
        return _insert(connection, record, owner, number)
    [user_id, _] = connection.execute(_LATEST_MERGE, (record.user_id,)).fetchone() or (record.user_id, 0)
    return _insert(connection, replace(record, user_id=user_id), None, number)


def _store_merge(connection: sqlite3.Connection, merge: Merge, number: int | None) -> int | None:
    """Store a merge, unless the visitor is that user already.

    Its time is not before that of any event which came in earlier, whichever process received it.
    """
    user_id, merged_ms = connection.execute(_LATEST_MERGE, (merge.visitor,)).fetchone() or (None, -1)
    if user_id == merge.user_id:
        return None
    [lately] = connection.execute(_LATELY).fetchone()
    time_ms = max(merge.merge_time, merged_ms + 1, lately or 0)
    login = Event(f"merge-{uuid.uuid4().hex}", MERGE, merge.user_id, merge.visitor, time_ms, time_ms)
    sequence = _insert(connection, login, None, number)
    row = (merge.visitor, time_ms, merge.user_id, sequence)
    connection.execute("INSERT INTO merges VALUES (?, ?, ?, ?)", row)
    return sequence


def _insert(
    connection: sqlite3.Connection, event: Event, counts_for: str | None, number: int | None
) -> int | None:
    row = connection.execute(_INSERT, (number, *astuple(event), counts_for, event.event_id)).fetchone()
    return None if row is None else int(row[0])
