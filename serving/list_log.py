"""What was served, kept so that the events that come back can say which list they belong to.

Answers never wait for it: a list is handed over in memory, and a ``GroupWriter`` commits what has gathered.
Several server processes share the file. When it cannot be written, lists wait in memory; when too many wait,
new ones are lost, counted and said once.
"""

import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path

from recsys.errors import IntakeError
from recsys.tombstones import Tombstones
from serving.deleted_pages import overwrite_deleted, truncate_journal
from serving.group_writer import GroupWriter
from serving.served_list import COLUMNS, ServedList

LIST_FILE = "lists.sqlite"
"""Name of the list log in ``Workspace.state``."""

GROUP_SECONDS = 0.05
"""Longest that a list waits for others before it is committed with them."""
MAX_WAITING = 10_000
"""Most lists in memory while the file cannot be written."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS lists (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(COLUMNS)}, UNIQUE (list_id)
);
CREATE INDEX IF NOT EXISTS lists_time ON lists (served_time);
CREATE TABLE IF NOT EXISTS exported (last);
CREATE TABLE IF NOT EXISTS log (id);
CREATE TABLE IF NOT EXISTS given_up (
    list_id PRIMARY KEY, since DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
) WITHOUT ROWID;
INSERT INTO log SELECT lower(hex(randomblob(6))) WHERE NOT EXISTS (SELECT 1 FROM log);
"""
_INSERT = f"INSERT OR IGNORE INTO lists ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM lists"
_LAST_EXPORTED = "SELECT COALESCE(MAX(last), 0) FROM exported"
_AFTER = f"SELECT sequence, {', '.join(COLUMNS)} FROM lists WHERE sequence > ? ORDER BY sequence LIMIT ?"
_ERASE = "DELETE FROM lists WHERE subject IN ({}) AND served_time <= ? RETURNING list_id"
_PEOPLE = "SELECT DISTINCT subject FROM lists WHERE subject IS NOT NULL AND served_time >= ?"
_GIVE_UP = "INSERT OR IGNORE INTO given_up (list_id) VALUES (?)"
_GIVE_UP_OF = """
INSERT OR IGNORE INTO given_up (list_id)
SELECT list_id FROM lists WHERE subject = ? AND served_time >= ? AND served_time <= ?
"""
_FORGET_GIVEN_UP = "DELETE FROM given_up WHERE since + ? < CAST(strftime('%s', 'now') AS INTEGER)"
_PRUNE = f"DELETE FROM lists WHERE served_time < ? AND sequence <= ({_LAST_EXPORTED})"

_MAX_NAMES = 500  # ids in one SELECT
_BUSY_SECONDS = 5.0


class ListLog:
    """Lists in a SQLite file in WAL mode; any thread may call any method."""

    def __init__(self, path: Path) -> None:
        """Open the log.

        Raises:
            IntakeError: The file cannot be opened.
        """
        self._lock = threading.Lock()
        self._tombstones = Tombstones(path.parent.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            raise IntakeError(
                f"the list log {path} does not open: {error}; see that it is writable"
            ) from error
        self._writer: GroupWriter[ServedList] = GroupWriter(
            "served lists",
            self._commit,
            (IntakeError,),
            group_seconds=GROUP_SECONDS,
            max_waiting=MAX_WAITING,
        )

    @property
    def log_id(self) -> str:
        """What tells its files from those of other machines' logs, which count their lists from 1, too.

        Raises:
            IntakeError: The file cannot be read.
        """
        with self._transaction() as connection:
            return str(connection.execute("SELECT id FROM log").fetchone()[0])

    @property
    def num_lost(self) -> int:
        """Lists that are in no log, since the start."""
        return self._writer.num_lost

    def add(self, served: ServedList) -> None:
        """Hand a list over; it never waits and never fails."""
        self._writer.add(served.list_id, served)

    def find(self, list_ids: Iterable[str]) -> dict[str, ServedList]:
        """Those of the lists that are known, by id.

        Raises:
            IntakeError: The file cannot be read.
        """
        wanted = set(list_ids)
        found = {list_id: served for list_id in wanted if (served := self._writer.get(list_id))}
        missing = iter(sorted(wanted - found.keys()))
        while some := list(islice(missing, _MAX_NAMES)):
            marks = ", ".join("?" * len(some))
            with self._transaction() as connection:
                rows = connection.execute(f"{_SELECT} WHERE list_id IN ({marks})", some).fetchall()
            found |= {row[0]: ServedList.from_row(row) for row in rows}
        return found

    def not_exported(self, limit: int) -> tuple[int, int, list[ServedList]]:
        """The next lists to export, at most ``limit``: first and last sequence number, and the lists.

        Those of people who were erased are not among them, though their numbers are; after the last one the
        first number is above the last.

        Raises:
            IntakeError: The file cannot be read.
        """
        with self._transaction() as connection:
            after = connection.execute(_LAST_EXPORTED).fetchone()[0]
            rows = connection.execute(_AFTER, (after, limit)).fetchall()
        last = rows[-1][0] if rows else after
        lists = (ServedList.from_row(row[1:]) for row in rows)
        return after + 1, last, [served for served in lists if not self._is_erased(served)]

    def mark_exported(self, last: int) -> None:
        """Remember that lists up to a sequence number were exported.

        Raises:
            IntakeError: The file cannot be written.
        """
        with self._transaction(writes=True) as connection:
            connection.execute("DELETE FROM exported")
            connection.execute("INSERT INTO exported VALUES (?)", (last,))

    def forget(self, before_ms: int) -> int:
        """Remove exported lists that were served before a time; how many.

        Raises:
            IntakeError: The file cannot be written.
        """
        with self._transaction(writes=True) as connection:
            return connection.execute(_PRUNE, (before_ms,)).rowcount

    def of(self, subjects: Sequence[str]) -> list[ServedList]:
        """Lists that some people got, oldest first.

        Raises:
            IntakeError: The file cannot be read, or what waits cannot be written.
        """
        self._writer.flush()
        marks = ", ".join("?" * len(subjects))
        with self._transaction() as connection:
            rows = connection.execute(f"{_SELECT} WHERE subject IN ({marks}) ORDER BY sequence", subjects)
            return [ServedList.from_row(row) for row in rows]

    def erase(self, subjects: Sequence[str], through_ms: int) -> list[str]:
        """Remove the lists that some people got up to a time, on the disk too; the lists' ids.

        Raises:
            IntakeError: The file cannot be written.
        """
        marks = ", ".join("?" * len(subjects))
        with self._transaction(writes=True) as connection:
            found = connection.execute(_ERASE.format(marks), (*subjects, through_ms)).fetchall()
            connection.executemany(_GIVE_UP, found)
        with self._lock:
            truncate_journal(self._connection)
        return [list_id for (list_id,) in found]

    def forget_erased(self) -> int:
        """Remove the lists of everybody who was erased, by whichever server; how many.

        Raises:
            IntakeError: The file cannot be written.
        """
        num_lists = 0
        with self._transaction(writes=True) as connection:  # what is committed later asks for tombstones anew
            for subject, erased_ms in self._erased(connection, 0):
                found = connection.execute(_ERASE.format("?"), (subject, erased_ms)).fetchall()
                connection.executemany(_GIVE_UP, found)
                num_lists += len(found)
        if num_lists:
            with self._lock:
                truncate_journal(self._connection)
        return num_lists

    def give_up(self, since_ms: int) -> None:
        """Count the lists of everybody who was erased among those that are given up, while they are there.

        Args:
            since_ms: Only lists that were served then or later, in milliseconds since the epoch.

        Raises:
            IntakeError: The file cannot be written.
        """
        with self._transaction(writes=True) as connection:
            for subject, erased_ms in self._erased(connection, since_ms):
                connection.execute(_GIVE_UP_OF, (subject, since_ms, erased_ms))

    def _erased(self, connection: sqlite3.Connection, since_ms: int) -> list[tuple[str, int]]:
        """Who got a list at a moment or later and was erased, and until when."""
        people = [subject for (subject,) in connection.execute(_PEOPLE, (since_ms,))]
        found = ((subject, self._tombstones.erased_ms(subject)) for subject in people)
        return [(subject, erased_ms) for subject, erased_ms in found if erased_ms >= 0]

    def given_up(self, time_to_live: timedelta) -> list[str]:
        """Ids of lists of erased people that were given up, removed, or never written, within some time.

        Raises:
            IntakeError: The file cannot be read or written.
        """
        with self._transaction() as connection:
            found = [str(list_id) for (list_id,) in connection.execute("SELECT list_id FROM given_up")]
        if found:
            with self._transaction(writes=True) as connection:
                connection.execute(_FORGET_GIVEN_UP, (math.ceil(time_to_live.total_seconds()),))
        return found

    def flush(self) -> None:
        """Commit what waits now.

        Raises:
            IntakeError: The file cannot be written.
        """
        self._writer.flush()

    def close(self) -> None:
        """Commit what waits and stop; what cannot be written is lost."""
        self._writer.close()
        self._connection.close()

    def _commit(self, lists: Mapping[str, ServedList]) -> None:
        with self._transaction(writes=True) as connection:
            given_up = {served.list_id for served in lists.values() if self._is_erased(served)}
            kept = [served for served in lists.values() if served.list_id not in given_up]
            connection.executemany(_INSERT, [served.to_row() for served in kept])
            connection.executemany(_GIVE_UP, [(list_id,) for list_id in given_up])

    def _is_erased(self, served: ServedList) -> bool:
        if served.subject is None:
            return False
        return self._tombstones.erased_ms(served.subject) >= served.served_time

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._connection as connection:
                connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                yield connection
        except sqlite3.Error as error:
            raise IntakeError(f"the list log failed: {error}; see that the disk has space") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    overwrite_deleted(connection)
    connection.executescript(_SCHEMA)
    known = {row[1] for row in connection.execute("PRAGMA table_info(lists)")}
    for name in (name for name in COLUMNS if name not in known):  # of a file that was made before
        with suppress(sqlite3.OperationalError):  # another process was faster
            connection.execute(f"ALTER TABLE lists ADD COLUMN {name}")
    return connection
