"""A server process, alone or one of several: what it does from its fork to its exit.

Each loads its own model. One loaded before the fork would be of no use: Polars' threads do not survive a
fork, and a model that is swapped in later would not be shared anyway.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import uvloop

from recsys.errors import RecsysError
from recsys.event_log import READERS_LOCK
from recsys.file_lock import shared
from recsys.workspace import Workspace
from serving.bootstrap import serve_until_stopped
from serving.compaction import COMPACTION_LOCK, settle, settle_catalogue
from serving.erasure import resume_erasures
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.loading import (
    LoggedStates,
    load_pipeline,
    log_end_ms,
    postpone_encoder,
    require_signed,
    up_to_date,
    warm_up,
)
from serving.port import free_address
from serving.progress_board import PREPARED, READY, ProgressBoard
from serving.settings import Settings
from serving.site import Seat
from serving.threads import one_thread

_POLL_SECONDS = 0.02
_SWITCH_SECONDS = 0.0002  # longest that a thread that ranks keeps the one that takes calls in waiting


@dataclass(frozen=True, eq=False)
class Crew:
    """What every worker of a server is told."""

    workspace: Workspace
    settings: Settings
    """With the port and the store that the workers share."""
    board: ProgressBoard
    lifeline: int
    """Read end of a pipe that ends when the supervisor does."""


def work(crew: Crew, number: int) -> int:
    """Be a worker process until told to stop; its exit code."""
    try:
        one_thread()
        _join(crew, number)
    except (RecsysError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def serve_alone(workspace: Workspace, settings: Settings, announce: Callable[[int], None]) -> None:
    """Run a server in this process until SIGTERM or SIGINT.

    Args:
        workspace: Whose models and log it serves.
        settings: How to run.
        announce: Called with the port once it is ready.

    Raises:
        BundleError: No model has been trained, or it does not verify.
        ConfigError: The address cannot be bound.
        DataError: The event log is damaged.
        StoreError: The store does not start or does not answer.
    """
    one_thread()
    free_address(settings)  # before the workspace is touched, which another server may be at
    resume_erasures(workspace)
    settle(workspace)
    settle_catalogue(workspace)
    _serve(workspace, settings, announce, Seat())


def _join(crew: Crew, number: int) -> None:
    """Serve beside the others. The first worker of all puts the log in order before anybody reads it."""
    if number == 0 and crew.board.nobody_counts:
        resume_erasures(crew.workspace)
        settle(crew.workspace)
        settle_catalogue(crew.workspace)
    crew.board.reach(number, PREPARED)
    while crew.board.stage(0) < PREPARED:
        time.sleep(_POLL_SECONDS)
    seat = Seat(number, crew.board, until=_watching(crew.lifeline))
    _serve(crew.workspace, crew.settings, lambda _: crew.board.reach(number, READY), seat)


def _serve(workspace: Workspace, settings: Settings, announce: Callable[[int], None], seat: Seat) -> None:
    with ExitStack() as held, closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        held.enter_context(shared(workspace.state / COMPACTION_LOCK))
        held.enter_context(shared(workspace.events / READERS_LOCK))
        require_signed(workspace, settings)
        pipeline = load_pipeline(workspace)
        postpone_encoder(pipeline)
        warm_up(pipeline, log_end_ms(workspace))
        model, states = up_to_date(pipeline, workspace, buffer), LoggedStates(workspace, pipeline)
        counting = replace(seat, counting=held.close)
        gc.collect()
        gc.freeze()  # a collection that looks at all of this stops every answer for some 200 ms
        sys.setswitchinterval(_SWITCH_SECONDS)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_until_stopped(workspace, settings, model, states, announce, seat=counting))


def _watching(lifeline: int) -> Callable[[asyncio.Event], None]:
    """Stops the server when the supervisor is gone, for nobody would start it again or stop it."""

    def watch(stopped: asyncio.Event) -> None:
        asyncio.get_running_loop().add_reader(lifeline, stopped.set)

    return watch
