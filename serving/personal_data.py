"""Everything that is held of one person, as JSON documents: what ``ExportUser`` sends."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import polars as pl

from recsys.event_log import EventLog
from recsys.objections import Objections
from recsys.schema import EVENT_SCHEMA, EVENT_TYPES, USER_ID, VISITOR
from recsys.table_sweep import rows_of
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.event import VISITOR_PREFIX, event_frame
from serving.event_buffer import SqliteEventBuffer
from serving.list_log import ListLog
from serving.served_list import served_frame
from serving.state_store import StateStore

_AT_ONCE = 100


def personal_data(
    workspace: Workspace, buffer: SqliteEventBuffer, list_log: ListLog, subjects: tuple[str, ...]
) -> Iterator[str]:
    """What the files of a workspace hold of somebody: one JSON document per row, with its ``kind``.

    Args:
        workspace: The workspace.
        buffer: Its event buffer.
        list_log: Its log of served lists.
        subjects: The person, and every visitor that the person was.

    Raises:
        RecsysError: Something cannot be read.
    """
    ids = list(subjects)
    for subject in subjects:
        flag = subject in Objections(workspace.root)
        yield _line("profile", {"id": _plain(subject), "do_not_profile": flag})
    log = EventLog(workspace.events)
    theirs = log.scan().filter(pl.col(USER_ID).is_in(ids)).select(EVENT_SCHEMA.names()).collect()
    yield from _rows("event", theirs)
    merges = log.merges().filter(pl.col(USER_ID).is_in(ids) | pl.col(VISITOR).is_in(ids))
    yield from _rows("login", merges)
    waiting = [one for one in buffer.of(ids) if one.merge is None]
    yield from _rows("event", event_frame(one.event for one in waiting))
    recent = list_log.of(ids)
    yield from _rows("list", served_frame(recent))
    known = {served.list_id for served in recent}
    for table, row in rows_of(workspace, set(ids)):
        if row.get("list_id") not in known:
            yield _line({"served_lists": "list", "users": "user", "rejects": "refused_row"}[table], row)


async def remembered(store: StateStore, subjects: tuple[str, ...]) -> list[str]:
    """What the store holds of somebody, likewise.

    Raises:
        StoreError: The store did not answer.
    """
    lines: list[str] = []
    for subject in subjects:
        if (state := await store.get(subject)) is not None:
            lines.append(_line("state", _state(subject, state)))
        if (origin := (await store.origin(subject))[0]) is not None:
            lines.append(_line("origin", {"id": _plain(subject), "first_known_as": _plain(origin)}))
        if marks := await store.marks(subject):
            lines.append(_line("progress", {"id": _plain(subject), "sources": marks}))
    return lines


async def in_parts(lines: Iterator[str]) -> list[str]:
    """The next lines, at most as many as one message holds; none at the end."""
    return await asyncio.to_thread(list, islice(lines, _AT_ONCE))


def _state(subject: str, state: UserState) -> dict[str, object]:
    rows = zip(
        state.item_ids, state.event_types.tolist(), state.counts.tolist(), state.last_ms.tolist(), strict=True
    )
    return {
        "id": _plain(subject),
        "items": [
            {"item_id": item_id, "event_type": EVENT_TYPES[code], "count": count, "last_ms": last_ms}
            for item_id, code, count, last_ms in rows
        ],
    }


def _rows(kind: str, frame: pl.DataFrame) -> Iterator[str]:
    return (_line(kind, row) for row in frame.iter_rows(named=True))


def _line(kind: str, row: dict[str, object]) -> str:
    return json.dumps({"kind": kind} | row, ensure_ascii=False, default=_text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain(subject: str) -> str:
    return subject.removeprefix(VISITOR_PREFIX)
