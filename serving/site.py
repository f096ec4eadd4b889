"""What the parts of one server process stand on: its place among others, its clock, what it leaves open."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from recsys.clock import Clock, ReplayClock, WallClock
from recsys.digest_names import DIRECTORY
from recsys.event_log import EventLog
from recsys.file_lock import shared
from recsys.schema import DAY_MS
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK
from serving.erasure import SERVING_LOCK
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.models import Models
from serving.progress_board import ProgressBoard
from serving.settings import Settings

_CANCEL_AGAIN_SECONDS = 0.5
_OLD_DAYS = 30
"""Age of the log's last event, in days, from which a server on the wall's clock says so."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Seat:
    """The place of a server process among those that share a port; the default is that of one alone."""

    worker: int = 0
    """Number of the process; number 0 writes the log and answers the AdminService."""
    board: ProgressBoard = field(default_factory=ProgressBoard)
    counting: Callable[[], None] = lambda: None
    """Called once the process counts events, so that what it has not counted stays in the buffer."""
    admin: Callable[[int], None] = lambda _: None
    """Called with the port of the AdminService, where it runs."""
    until: Callable[[asyncio.Event], None] = lambda _: None
    """Called with the event that stops the process, to set it when there are other reasons than a signal."""


@dataclass(frozen=True, eq=False)
class Site:
    """What the parts of one server are built on; what they leave open closes with its stack."""

    stack: AsyncExitStack
    workspace: Workspace
    settings: Settings
    seat: Seat
    models: Models
    buffer: SqliteEventBuffer
    clock: Clock

    @property
    def is_first(self) -> bool:
        """Whether this is the process that does what one of all has to do."""
        return self.seat.worker == 0

    @property
    def compaction_lock(self) -> Path:
        """Held by whoever moves events into the log, and shared by whoever reads both."""
        return self.workspace.state / COMPACTION_LOCK

    def run(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Run a task until the stack unwinds; should it end before, say so."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)

        async def stop() -> None:
            while not task.done():  # ``asyncio.wait_for`` of Python 3.11 may lose a cancellation
                task.cancel()
                await asyncio.wait([task], timeout=_CANCEL_AGAIN_SECONDS)
            with suppress(asyncio.CancelledError):
                await task

        self.stack.push_async_callback(stop)


def open_site(
    stack: AsyncExitStack, workspace: Workspace, settings: Settings, models: Models, seat: Seat
) -> Site:
    """Take a workspace into service: from now on erasures wait for this process, and its buffer is open.

    Args:
        stack: Lets go of it all.
        workspace: Whose log and buffer the clock of a replay reads.
        settings: How to run.
        models: Those that are loaded.
        seat: Which of several server processes this is.

    Raises:
        IntakeError: The event buffer cannot be opened.
        DataError: The event log is damaged.
    """
    stack.enter_context(shared(workspace.root / DIRECTORY / SERVING_LOCK))
    buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
    stack.callback(buffer.close)
    clock = _clock(settings, EventLog(workspace.events), buffer, seat.board)
    return Site(stack, workspace, settings, seat, models, buffer, clock)


def _clock(settings: Settings, event_log: EventLog, buffer: SqliteEventBuffer, board: ProgressBoard) -> Clock:
    """The wall's, or one that goes on where the log and the buffer end."""
    if settings.clock == "wall":
        clock = WallClock()
        days = (clock.now_ms() - (event_log.end_ms() or clock.now_ms())) // DAY_MS
        if days > _OLD_DAYS:
            _log.warning(
                "the log ended long ago, so shoppers may be forgotten and count as unknown; "
                "to serve a log of the past: recsys serve --clock replay",
                days=days,
            )
        return clock
    log_end_ms = max(event_log.end_ms() or 0, buffer.latest_ms())
    return ReplayClock(*board.start_clock(log_end_ms, time.monotonic_ns()))


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a background task ended", task=task.get_name(), exc_info=error)
