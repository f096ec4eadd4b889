"""Records on their way into the buffer: each event is stored as of whoever its visitor turned out to be."""

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import TypeAlias

from serving.buffer_file import STORED
from serving.event import MERGE, VISITOR_PREFIX, Event, Merge

Numbered: TypeAlias = Sequence[tuple[int | None, Event | Merge]]
"""Records, each with the sequence number that it must get; ``None`` for the next one."""

_INSERT = f"""
INSERT INTO events (sequence, {", ".join(STORED)}) SELECT ?, {", ".join("?" * len(STORED))}
WHERE NOT EXISTS (SELECT 1 FROM left_ids WHERE event_id = ?)
ON CONFLICT (event_id) DO NOTHING RETURNING sequence
"""
_MERGE_OF = "SELECT user_id FROM merges WHERE visitor = ? AND merge_time >= ? ORDER BY merge_time LIMIT 1"
_LATEST_MERGE = "SELECT user_id, merge_time FROM merges WHERE visitor = ? ORDER BY merge_time DESC LIMIT 1"
_LATELY = (
    "SELECT MAX(received_time) FROM (SELECT received_time FROM events ORDER BY sequence DESC LIMIT 1000)"
)


def store(connection: sqlite3.Connection, record: Event | Merge, number: int | None) -> int | None:
    """Store a record in the transaction that is open.

    Args:
        connection: To the buffer's file.
        record: An event with an id, or a merge.
        number: Its sequence number, above all that were used; ``None`` for the next one.

    Returns:
        The number that it got; ``None`` for an event whose id is known, and for a merge of a visitor who is
        that user already.
    """
    if isinstance(record, Merge):
        return _store_merge(connection, record, number)
    if not record.user_id.startswith(VISITOR_PREFIX):
        return _insert(connection, record, None, number)
    [owner] = connection.execute(_MERGE_OF, (record.user_id, record.effective_ms)).fetchone() or (None,)
    if owner is not None:  # it happened before the login, so the log says it of the visitor
        return _insert(connection, record, owner, number)
    [user_id, _] = connection.execute(_LATEST_MERGE, (record.user_id,)).fetchone() or (record.user_id, 0)
    return _insert(connection, replace(record, user_id=user_id), None, number)


def is_erased(record: Event | Merge, erased_ms: Callable[[str], int]) -> bool:
    """Whether a record is of before the erasure of its person, whoever handed it in and whenever.

    Args:
        record: The record.
        erased_ms: Until when somebody is erased, see ``Tombstones.erased_ms``.
    """
    if isinstance(record, Merge):
        people: tuple[str, ...] = (record.visitor, record.user_id)
        return any(erased_ms(one) >= record.merge_time for one in people)
    return erased_ms(record.user_id) >= record.effective_ms


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
