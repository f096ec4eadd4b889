"""How far the logs reach: a server moves lists and events into them with every compaction."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from recsys.event_log import EventLog
from recsys.schema import SERVED_TIME

_EMPTY = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LogReach:
    """The last moments that the logs know, UTC; ``None`` for an empty log."""

    lists: datetime | None
    events: datetime | None

    @property
    def end(self) -> datetime:
        """Just after the last list or event."""
        return max(self.lists or _EMPTY, self.events or _EMPTY) + timedelta(milliseconds=1)

    def before(self, until: datetime) -> "LogReach":
        """The same for a reading of what happened before a moment."""
        lists, events = (None if end is None else min(end, until) for end in (self.lists, self.events))
        return LogReach(lists, events)

    def __str__(self) -> str:
        """Both moments, for people."""
        ends = (("lists", self.lists), ("events", self.events))
        said = (f"{what} {'none' if end is None else f'{end:%Y-%m-%d %H:%M:%S}'}" for what, end in ends)
        return f"data up to (UTC): {', '.join(said)}"


def log_reach(log: EventLog, served: pl.LazyFrame) -> LogReach:
    """How far the event log and the log of served lists reach.

    Raises:
        DataError: A commit of the event log is damaged.
    """
    lists: datetime | None = served.select(pl.col(SERVED_TIME).max()).collect().item()
    end_ms = log.end_ms()
    return LogReach(lists, None if end_ms is None else datetime.fromtimestamp(end_ms / 1000, UTC))
