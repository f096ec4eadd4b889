"""Where accepted events become durable: all that taking events in needs to know of it.

On one machine the event buffer is that place (``serving.event_buffer``), which state and log are kept from
too; beyond one machine it is a broker (``serving.kafka_intake``), and others keep them.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from serving.event import Event, Merge

ELSEWHERE = 0
"""Sequence number of what is durable and becomes visible by another process: nobody can wait for it."""


class EventIntake(Protocol):
    """Makes events durable; any thread may call any method."""

    @property
    def has_failed(self) -> bool:
        """Whether it takes nothing any more until a restart."""
        ...

    def append(self, records: Sequence[Event | Merge]) -> "Future[list[int | None]]":
        """Store events with ids, and merges; the future ends when they are durable.

        Its result has one entry per record: the sequence number, ``ELSEWHERE`` where there is none here, or
        ``None`` when the id was seen before, or the visitor is known to be that user. It raises
        ``IntakeError`` when no record is acknowledged.
        """
        ...

    def close(self) -> None:
        """Finish what was handed in and refuse the rest."""
        ...
