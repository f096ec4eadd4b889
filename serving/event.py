"""One event as the server handles it, between the wire and the log."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import polars as pl

from recsys.schema import EVENT_SCHEMA, EVENT_TYPE_CODES, MERGE_SCHEMA

VISITOR_PREFIX = "\x1fvisitor:"
"""Marks a visitor's id where users' ids stand; the wire refuses user ids that begin with U+001F."""
MERGE = "merge"
"""Stands where events have their type, in the buffer only."""


@dataclass(frozen=True)
class Event:
    """What one shopper did with one item; the fields are the columns of ``recsys.schema.EVENT_SCHEMA``.

    Times are milliseconds since the epoch, UTC.
    """

    event_id: str | None
    """``None`` until an id is derived; never in the buffer."""
    event_type: str
    user_id: str
    """The user's id, or ``VISITOR_PREFIX`` and the visitor's."""
    item_id: str
    event_time: int
    received_time: int
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None
    list_id: str | None = None
    position: int | None = None
    text: str | None = None

    @property
    def effective_ms(self) -> int:
        """The earlier of ``event_time`` and ``received_time``."""
        return min(self.event_time, self.received_time)

    @property
    def type_code(self) -> int:
        """Code of the event type."""
        return EVENT_TYPE_CODES[self.event_type]


@dataclass(frozen=True)
class Merge:
    """A login: from its time on a visitor is a user, see ``recsys.schema.MERGE_SCHEMA``."""

    visitor: str
    """``VISITOR_PREFIX`` and the visitor's id."""
    user_id: str
    merge_time: int
    """Milliseconds since the epoch, UTC."""


@dataclass(frozen=True)
class BufferedEvent:
    """An event that is durable; or a merge, in its place among the events."""

    sequence: int
    """Position in the buffer, ascending from 1 and never used twice."""
    event: Event
    """The event; of a merge, an event of the type ``MERGE`` whose item is the visitor."""
    counts_for: str | None = None
    """Whose state it changes, where that is not ``event.user_id``: a visitor's event that came in after the
    login although it happened before."""

    @property
    def owner(self) -> str:
        """Whose state the event changes."""
        return self.counts_for or self.event.user_id

    @property
    def merge(self) -> Merge | None:
        """The login, where the record is no event but a merge."""
        event = self.event
        return Merge(event.item_id, event.user_id, event.event_time) if event.event_type == MERGE else None


def merge_frame(merges: Iterable[Merge]) -> pl.DataFrame:
    """The merges as a frame of ``MERGE_SCHEMA``."""
    return pl.DataFrame([asdict(merge) for merge in merges], schema=MERGE_SCHEMA, orient="row")


def event_frame(events: Iterable[Event]) -> pl.DataFrame:
    """The events as a frame of ``EVENT_SCHEMA``."""
    return pl.DataFrame([asdict(event) for event in events], schema=EVENT_SCHEMA, orient="row")


def subject(user_id: str, visitor_id: str) -> str | None:
    """Whose state it is: the user's id, else the marked visitor's, else ``None``.

    >>> subject("u1", "v1"), subject("", "")
    ('u1', None)
    """
    if user_id:
        return user_id
    return VISITOR_PREFIX + visitor_id if visitor_id else None
