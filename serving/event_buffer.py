"""The durable home of events between their receipt and the event log.

It serves one machine. Sequence numbers ascend in the order of commits and are never used twice, so a reader
that has seen number n has seen all below it.

The buffer also knows who each visitor turned out to be: what a visitor does after the login is stored as the
user's. Merges are kept for good, also when they have left for the log.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from recsys.errors import IntakeError
from recsys.fault_point import reach
from recsys.schema import DAY_MS
from recsys.tombstones import Tombstones
from serving.buffer_file import STORED, BufferFile
from serving.buffer_records import Numbered, is_erased, store
from serving.event import MERGE, BufferedEvent, Event, Merge
from serving.group_commit import GroupCommit, Sequences
from serving.visitor_link import VisitorLink

BUFFER_FILE = "events.sqlite"
"""Name of the buffer in ``Workspace.state``."""

_SINCE = f"SELECT sequence, {', '.join(STORED)} FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
_RANGE = """
SELECT MIN(sequence), MIN(MAX(sequence), MIN(sequence) + ? - 1) FROM events WHERE sequence <= ?
"""
_REMEMBER = "INSERT OR IGNORE INTO left_ids SELECT event_id, received_time FROM events WHERE sequence <= ?"
_FORGET = "DELETE FROM left_ids WHERE received_time < (SELECT MAX(received_time) FROM left_ids) - ?"
_LINKS = """
SELECT visitor, user_id, sequence, MAX(merge_time) FROM merges
WHERE sequence NOT IN (SELECT sequence FROM events WHERE event_type = ?) GROUP BY visitor
"""
_LATEST = "SELECT COALESCE(MAX(MIN(event_time, received_time)), 0) FROM events"
_SPAN = """
SELECT COALESCE((SELECT MIN(sequence) FROM events), 1), COALESCE((SELECT MAX(sequence) FROM events), 0)
"""

_OF = (
    f"SELECT sequence, {', '.join(STORED)} FROM events "
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

_REMEMBER_MS = 30 * DAY_MS
_MAX_CLAIM = 100_000  # events in one claimed range


class SqliteEventBuffer:
    """Events in a SQLite file; any thread may call any method.

    After an input or output error the file is not trusted any more: appending raises until a restart.
    """

    def __init__(self, path: Path, *, in_memory: bool = False, remember_ms: int = _REMEMBER_MS) -> None:
        """Open a buffer.

        Args:
            path: The file, in ``Workspace.state``.
            in_memory: Keep nothing in the file, for whoever can have everything again.
            remember_ms: How long the id of an event that has left for the log is remembered, counted back
                from the latest one.

        Raises:
            IntakeError: The file does not open.
        """
        self._remember_ms = remember_ms
        self._tombstones = Tombstones(path.parent.parent)
        self._file = BufferFile(path, in_memory=in_memory)
        self._commits = GroupCommit(self._commit)

    @property
    def buffer_id(self) -> str:
        """Tells this buffer's sequence numbers from another's."""
        return self._file.buffer_id

    @property
    def has_failed(self) -> bool:
        """Whether it takes nothing any more until a restart."""
        return self._file.has_failed

    def append(self, records: Sequence[Event | Merge]) -> Future[Sequences]:
        """Store records; the future ends when they are on disk, see ``EventIntake.append``."""
        return self.append_numbered([(None, record) for record in records])

    def append_numbered(self, records: Numbered) -> Future[Sequences]:
        """Store records under sequence numbers that ascend and were never used; ``None`` is the next one."""
        return self._commits.add(records)

    def since(self, sequence: int, limit: int) -> list[BufferedEvent]:
        """At most ``limit`` records above ``sequence`` that have not left for the log, ascending."""
        with self._file.transaction() as connection:
            rows = connection.execute(_SINCE, (sequence, limit)).fetchall()
        return _read(rows)

    def claim(self, through: int) -> tuple[int, int] | None:
        """Fix the range that leaves for the log next: first and last sequence, at most ``through``.

        The range stays the same, over restarts too, until it is released. ``None`` when nothing is there.
        """
        with self._file.transaction() as connection:
            claimed = connection.execute("SELECT first, last FROM claim").fetchone()
            if claimed is None:
                claimed = connection.execute(_RANGE, (_MAX_CLAIM, through)).fetchone()
                if claimed[0] is None:
                    return None
                connection.execute("INSERT INTO claim VALUES (?, ?)", claimed)
        return int(claimed[0]), int(claimed[1])

    def release(self, last: int) -> None:
        """Forget the claimed events, whose last sequence is ``last``, but not their ids."""
        with self._file.transaction() as connection:
            connection.execute(_REMEMBER, (last,))
            connection.execute("DELETE FROM events WHERE sequence <= ?", (last,))
            connection.execute(_FORGET, (self._remember_ms,))
            connection.execute("DELETE FROM claim WHERE last = ?", (last,))

    def latest_ms(self) -> int:
        """Latest effective time of the events that have not left for the log, 0 when there is none."""
        with self._file.transaction() as connection:
            return int(connection.execute(_LATEST).fetchone()[0])

    def span(self) -> tuple[int, int]:
        """First and last sequence number of the events that have not left for the log; (1, 0) for none."""
        with self._file.transaction() as connection:
            first, last = connection.execute(_SPAN).fetchone()
        return int(first), int(last)

    def links(self) -> list[tuple[str, VisitorLink]]:
        """Visitors whose merge has left for the log, each with the latest one."""
        with self._file.transaction() as connection:
            rows = connection.execute(_LINKS, (MERGE,)).fetchall()
        return [(visitor, VisitorLink(user_id, sequence)) for visitor, user_id, sequence, _ in rows]

    def learn(self, merges: Sequence[Merge]) -> None:
        """Know merges that the log holds, of another buffer or before this one."""
        rows = [(merge.visitor, merge.merge_time, merge.user_id, 0) for merge in merges]
        with self._file.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO merges VALUES (?, ?, ?, ?)", rows)

    def remember(self, ids: Iterable[tuple[str, int]]) -> None:
        """Know events that the log holds, by their ids and when they were received, as if they had left."""
        with self._file.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO left_ids VALUES (?, ?)", ids)

    def people(self) -> list[str]:
        """Everybody of whom the buffer knows anything, see ``serving.event.subject``."""
        with self._file.transaction() as connection:
            return [str(one) for (one,) in connection.execute(_PEOPLE)]

    def visitors_of(self, user_id: str) -> list[str]:
        """Which visitors a user was, as far as the buffer knows: each with its mark."""
        with self._file.transaction() as connection:
            found = connection.execute("SELECT DISTINCT visitor FROM merges WHERE user_id = ?", (user_id,))
            return [str(visitor) for (visitor,) in found]

    def of(self, subjects: Sequence[str]) -> list[BufferedEvent]:
        """Events and merges of some people that have not left for the log, ascending."""
        with self._file.transaction() as connection:
            rows = connection.execute(_OF.format(_marks(subjects)), [*subjects] * 3).fetchall()
        return _read(rows)

    def erase(self, subjects: Sequence[str], through_ms: int, event_ids: Sequence[str] = ()) -> int:
        """Remove what some people did up to a time, on the disk too; how many events and merges went.

        Args:
            subjects: Ids as in ``user_id`` of events.
            through_ms: Milliseconds since the epoch.
            event_ids: Ids of these people's events that have left for the log, to be forgotten too.
        """
        marks = _marks(subjects)
        with self._file.transaction() as connection:
            gone = connection.execute(_ERASE.format(marks), (*subjects, *subjects, *subjects, through_ms))
            num_gone = gone.rowcount
            connection.execute(_UNMERGE.format(marks), (*subjects, *subjects, through_ms))
            connection.executemany("DELETE FROM left_ids WHERE event_id = ?", [(one,) for one in event_ids])
        self._file.rewrite()
        return num_gone

    def close(self) -> None:
        """Finish what was handed in and refuse the rest."""
        self._commits.close()
        self._file.close()

    def _commit(self, batches: Iterable[Numbered]) -> list[Sequences]:
        if self._file.has_failed:
            raise IntakeError(
                "an earlier write failed, so the event buffer is closed; mend the disk and restart"
            )
        with self._file.transaction() as connection:
            has_erased, erased_ms = len(self._tombstones) > 0, self._tombstones.erased_ms
            stored = [
                [
                    None if has_erased and is_erased(record, erased_ms) else store(connection, record, number)
                    for number, record in records
                ]
                for records in batches
            ]
            reach("buffer-stored")
        reach("buffer-committed")
        return stored


def _marks(subjects: Sequence[str]) -> str:
    return ", ".join("?" * len(subjects))


def _read(rows: Sequence[tuple[Any, ...]]) -> list[BufferedEvent]:
    return [BufferedEvent(row[0], Event(*row[1:-1]), row[-1]) for row in rows]
