"""Moves buffered events into the event log, each exactly once even when interrupted anywhere.

Who reads the log and the buffer as one holds the file ``COMPACTION_LOCK`` shared meanwhile; who moves events
holds it exclusively, so that no event is seen in both places or in neither.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import closing

import polars as pl
import structlog

from recsys.change_pruning import prune_changes
from recsys.damaged_files import DamagedFiles
from recsys.errors import RecsysError
from recsys.event_log import EventLog
from recsys.fault_point import reach
from recsys.file_lock import exclusive
from recsys.log_layout import log_for_appends
from recsys.schema import EVENT_ID
from recsys.workspace import Workspace
from serving.event import BufferedEvent, event_frame, merge_frame
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer

_log = structlog.get_logger(__name__)

COMPACTION_LOCK = "compaction.lock"
"""Name of the lock file in ``Workspace.state``."""


def compact(
    buffer: SqliteEventBuffer,
    event_log: EventLog,
    *,
    through: int,
    name: Callable[[int, int], str] | None = None,
) -> int:
    """Move the events and merges up to a sequence number into the log.

    The range is fixed in the buffer before it is written, and the log takes the same name once, so a crash
    between the two steps neither loses an event nor doubles one. Events whose id the log holds already,
    because they were ingested from a file too, are left out.

    Args:
        buffer: Where the events are.
        event_log: Where they go.
        through: Highest sequence number to move; whoever reads the buffer must have read up to it. Known
            only under the lock, where others read.
        name: Names the append of a range, given its first and last sequence number; when absent, that is the
            buffer's and theirs.

    Returns:
        How many events and merges left the buffer.

    Raises:
        IntakeError: The buffer failed.
        DataError: The log is damaged.
    """
    num_moved = 0
    while (claimed := buffer.claim(through)) is not None:
        first, last = claimed
        reach("compaction-claimed")
        claimed_records = [
            buffered for buffered in buffer.since(first - 1, last - first + 1) if buffered.sequence <= last
        ]
        events = event_frame(record.event for record in claimed_records if record.merge is None)
        merges = merge_frame(record.merge for record in claimed_records if record.merge is not None)
        named = f"buffer-{buffer.buffer_id}-{first}-{last}" if name is None else name(first, last)
        event_log.append(_without_known(events, event_log), named, merges=merges)
        reach("compaction-appended")
        buffer.release(last)
        reach("compaction-released")
        num_moved += len(claimed_records)
    return num_moved


def settle(workspace: Workspace) -> int:
    """Move what an earlier server left in the buffer into the log, before anything is read from it.

    The log leaves out what it holds already, so an event that a crash left in both places counts once. A file
    of the log that is damaged is said and set aside first. No server may be running on the workspace.

    Returns:
        How many events and merges left the buffer.

    Raises:
        ConfigError: The configuration cannot be read.
        IntakeError: The buffer failed.
        DataError: The log is damaged.
    """
    lock = exclusive(workspace.state / COMPACTION_LOCK)
    with lock, closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        event_log = log_for_appends(workspace)
        DamagedFiles(event_log.path).set_aside()
        return compact(buffer, event_log, through=sys.maxsize)


def settle_catalogue(workspace: Workspace) -> None:
    """Forget changes of the catalogue that every model knows; what fails is logged and left as it is.

    No server may be running on the workspace.
    """
    try:
        num_changes = prune_changes(workspace)
    except (RecsysError, OSError) as error:
        _log.warning("changes of the catalogue are kept", reason=str(error))
        return
    if num_changes:
        _log.info("changes of the catalogue moved among the ingested items", num_changes=num_changes)


def not_in_log(events: Sequence[BufferedEvent], event_log: EventLog) -> list[BufferedEvent]:
    """Those buffered events whose ids the log does not hold: all, unless a crash or a file doubled some."""
    events = [buffered for buffered in events if buffered.merge is None]
    if not events:
        return []
    new = set(_without_known(event_frame(buffered.event for buffered in events), event_log)[EVENT_ID])
    return [buffered for buffered in events if buffered.event.event_id in new]


def _without_known(events: pl.DataFrame, event_log: EventLog) -> pl.DataFrame:
    ids = events[EVENT_ID].implode()
    known = event_log.scan().filter(pl.col(EVENT_ID).is_in(ids)).select(EVENT_ID).collect()
    return events.join(known, on=EVENT_ID, how="anti")
