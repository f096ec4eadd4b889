"""Moves buffered events into the event log, each exactly once even when interrupted anywhere."""

import sys
from contextlib import closing

import polars as pl

from recsys.event_log import EventLog
from recsys.schema import EVENT_ID
from recsys.workspace import Workspace
from serving.event import event_frame, merge_frame
from serving.event_buffer import BUFFER_FILE, EventBuffer, SqliteEventBuffer


def compact(buffer: EventBuffer, event_log: EventLog, *, through: int) -> int:
    """Move the events and merges up to a sequence number into the log.

    The range is fixed in the buffer before it is written, and the log takes the same name once, so a crash
    between the two steps neither loses an event nor doubles one. Events whose id the log holds already,
    because they were ingested from a file too, are left out.

    Args:
        buffer: Where the events are.
        event_log: Where they go.
        through: Highest sequence number to move; whoever reads the buffer must have read up to it.

    Returns:
        How many events and merges left the buffer.

    Raises:
        IntakeError: The buffer failed.
        DataError: The log is damaged.
    """
    num_moved = 0
    while (claimed := buffer.claim(through)) is not None:
        first, last = claimed
        claimed_records = [
            buffered for buffered in buffer.since(first - 1, last - first + 1) if buffered.sequence <= last
        ]
        events = event_frame(record.event for record in claimed_records if record.merge is None)
        merges = merge_frame(record.merge for record in claimed_records if record.merge is not None)
        name = f"buffer-{buffer.buffer_id}-{first}-{last}"
        event_log.append(_without_known(events, event_log), name, merges=merges)
        buffer.release(last)
        num_moved += len(claimed_records)
    return num_moved


def settle(workspace: Workspace) -> int:
    """Move what an earlier server left in the buffer into the log, before anything is read from it.

    The log leaves out what it holds already, so an event that a crash left in both places counts once. No
    server may be running on the workspace.

    Returns:
        How many events and merges left the buffer.

    Raises:
        IntakeError: The buffer failed.
        DataError: The log is damaged.
    """
    with closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        return compact(buffer, EventLog(workspace.events), through=sys.maxsize)


def _without_known(events: pl.DataFrame, event_log: EventLog) -> pl.DataFrame:
    ids = events[EVENT_ID].implode()
    known = event_log.scan().filter(pl.col(EVENT_ID).is_in(ids)).select(EVENT_ID).collect()
    return events.join(known, on=EVENT_ID, how="anti")
