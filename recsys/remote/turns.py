"""Pushes and pulls of a workspace take turns, and wait for whoever reads its log without keeping a turn."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from recsys.event_log import READERS_LOCK
from recsys.file_lock import exclusive_if_free
from recsys.remote.record import remote_directory
from recsys.workspace import Workspace

_PATIENCE_SECONDS, _ASK_AGAIN_SECONDS = 1.0, 0.1
_log = structlog.get_logger(__name__)


class LogInUseError(Exception):
    """Somebody reads the log who may need files that are to go."""


@contextmanager
def turn(workspace: Workspace) -> Iterator[None]:
    """Keep other pushes and pulls of a workspace waiting meanwhile."""
    with _when_free(remote_directory(workspace) / "lock", "another push or pull of this workspace"):
        yield


@contextmanager
def while_unread(workspace: Workspace) -> Iterator[None]:
    """Keep those who read the log long out of a block in which files of it go.

    Raises:
        LogInUseError: Somebody reads it.
    """
    with exclusive_if_free(workspace.events / READERS_LOCK) as is_unread:
        if not is_unread:
            raise LogInUseError
        yield


def wait_for_readers(workspace: Workspace) -> None:
    """Come back when nobody reads the log any more; a training may take hours. To be called out of turn."""
    with _when_free(workspace.events / READERS_LOCK, "a training or a server's start that reads the log"):
        pass


@contextmanager
def _when_free(lock: Path, holder: str) -> Iterator[None]:
    began, has_told = time.monotonic(), False
    while True:
        with exclusive_if_free(lock) as is_held:
            if is_held:
                yield
                return
        if not has_told and time.monotonic() - began >= _PATIENCE_SECONDS:
            _log.info("waiting until others are done", holder=holder)
            has_told = True
        time.sleep(_ASK_AGAIN_SECONDS)
