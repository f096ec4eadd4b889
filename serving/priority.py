"""How much a call matters, as its caller says."""

from contextvars import ContextVar
from enum import Enum
from typing import Final

from serving.call import Metadata

PRIORITY: Final = "x-recsys-priority"
"""Metadata key: ``interactive``, ``prefetch`` or ``batch``; anything else is interactive."""


class Priority(Enum):
    """How much a call matters, with the share of the limit on calls under way that it may use."""

    INTERACTIVE = 1.0
    """A shopper waits."""
    PREFETCH = 0.5
    """It is fetched ahead."""
    BATCH = 0.25
    """It runs at night."""


current_priority: ContextVar[Priority] = ContextVar("current_priority", default=Priority.INTERACTIVE)
"""Of the call that the running task serves."""


def priority_of(metadata: "Metadata | None") -> Priority:
    """What the caller says that a call is."""
    for key, value in metadata or ():
        if key == PRIORITY and isinstance(value, str):
            return Priority.__members__.get(value.strip().upper(), Priority.INTERACTIVE)
    return Priority.INTERACTIVE
