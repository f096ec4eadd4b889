"""Two ways to come to an event log that nobody reads: to wait for it, or to come another time.

Whoever removes files that a server's start or a training, on whichever machine, may be about to read takes
one of them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import structlog

from recsys.event_log import READERS_LOCK
from recsys.file_lock import exclusive, exclusive_if_free
from recsys.workspace import Workspace

Unread: TypeAlias = Callable[[Workspace], AbstractContextManager[bool]]
"""Keeps readers out of a block; whether nobody reads, without which nothing may be removed."""

_ASK_AGAIN_SECONDS = 0.2

_log = structlog.get_logger(__name__)


@contextmanager
def if_unread(workspace: Workspace) -> Iterator[bool]:
    """Keep readers out of a block, unless somebody reads: whether they are kept out.

    For whoever holds the lock of ``serving.compaction``, and soon comes again.
    """
    with exclusive_if_free(workspace.events / READERS_LOCK) as is_unread:
        yield is_unread


@contextmanager
def once_unread(workspace: Workspace) -> Iterator[bool]:
    """Keep compaction and readers out of a block; those that read already may take hours, and end first."""
    from serving.compaction import COMPACTION_LOCK

    has_told = False
    while True:
        # the one is let go of while the other is waited for: everything that writes the log wants it
        with exclusive(workspace.state / COMPACTION_LOCK), if_unread(workspace) as is_unread:
            if is_unread:
                yield True
                return
        if not has_told:
            _log.info("waiting for a training or a server's start that reads the log")
            has_told = True
        time.sleep(_ASK_AGAIN_SECONDS)
