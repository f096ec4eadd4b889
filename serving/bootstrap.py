"""Where the concrete classes meet: a workspace, settings and a pipeline become a running server."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from recsys.clock import Clock, ReplayClock, WallClock
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.schema import DAY_MS
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.admin import AdminServicer
from serving.attribution import Attribution
from serving.compaction import COMPACTION_LOCK
from serving.embedded_store import embedded_store
from serving.engine import Engine, RankingPipeline
from serving.event_buffer import BUFFER_FILE, EventBuffer, SqliteEventBuffer
from serving.intake import Intake
from serving.list_export import ListExport
from serving.list_log import LIST_FILE, ListLog
from serving.lists import Lists
from serving.loading import load_model
from serving.log_sync import LogSync
from serving.model_follower import ModelFollower
from serving.models import Model, Models
from serving.page_store import PageStore
from serving.progress_board import LOADED, ProgressBoard
from serving.recorder import Parts, recorded
from serving.rule_watch import RuleWatch
from serving.server import listening
from serving.servicer import EventServicer, RecommendationServicer
from serving.settings import Settings
from serving.shadow import Shadow
from serving.signer import Signer, signing_keys
from serving.state_store import StateStore, connect, connect_blocking
from serving.state_updater import StateUpdater

_POLL_SECONDS = 0.02
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


@asynccontextmanager
async def serving(
    workspace: Workspace,
    settings: Settings,
    model: RankingPipeline | Model,
    states: Iterable[tuple[str, UserState]],
    seat: Seat | None = None,
) -> AsyncIterator[int]:
    """Run a server, and yield the port that it listens on once it is ready.

    On leaving, everything stops in the reverse order of its start: no call is cut off within the grace
    period, and every accepted event is in the buffer or the log.

    Args:
        workspace: Whose log the states and the pipeline's aggregates were read from; nothing may be added to
            the log in between.
        settings: How to run.
        model: The loaded model.
        states: User ids and their states, of the whole log; read only when the store does not hold them.
        seat: Which of several server processes this is; absent when it is alone.

    Raises:
        StoreError: The store does not start or does not answer.
        IntakeError: The event buffer cannot be opened.
        DataError: The event log is damaged.
        ConfigError: The address cannot be bound, or the tokens' keys are wrong.
    """
    seat = Seat() if seat is None else seat
    models = Models(model if isinstance(model, Model) else Model(model))
    async with AsyncExitStack() as stack:
        event_log = EventLog(workspace.events)
        buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
        stack.callback(buffer.close)
        clock = _clock(settings, event_log, buffer, seat.board)
        signer = _signer(settings, workspace)
        secret = settings.redis_url
        url = stack.enter_context(embedded_store()) if secret is None else secret.get_secret_value()
        client = connect(url, settings.store_timeout_ms)
        store = StateStore(client, settings.tenant, models.stable.config.state)
        stack.push_async_callback(store.close)
        list_log = ListLog(workspace.state / LIST_FILE)
        stack.callback(list_log.close)

        updater = StateUpdater(buffer, store, models, seat.board, seat.worker)
        stack.callback(updater.leave)
        seat.counting()
        lock = workspace.state / COMPACTION_LOCK
        if seat.worker == 0:
            sync = LogSync(event_log, buffer, store, updater, lock)
            await sync.load(states)
            seat.board.reach(0, LOADED)
            stack.push_async_callback(sync.compact)
            _run(stack, "state-updater", updater.run())
            _run(stack, "compaction", sync.run(settings.compact_every))
            export = ListExport(list_log, workspace.served_lists, clock.now_ms, settings.list_retention)
            stack.push_async_callback(export.finish)
            _run(stack, "list-export", export.run(settings.compact_every))
        else:
            await _until_loaded(seat.board)
            await updater.catch_up()
            _run(stack, "state-updater", updater.run())
        _run(stack, "rules", RuleWatch(workspace.rules, models.use_rules).run())

        writer = connect_blocking(url, settings.store_timeout_ms)
        stack.callback(writer.close)
        pages = PageStore(client, writer, settings.tenant, settings.page_ttl)
        stack.callback(pages.close)
        lists = Lists(list_log, pages, signer, page_depth=settings.page_depth)

        registry = Registry(workspace.registry)
        follower = ModelFollower(
            registry, models, lambda version: load_model(workspace, buffer, clock.now_ms(), version), lock
        )
        stack.push_async_callback(follower.close)
        _run(stack, "model-follower", follower.run())
        shadow = Shadow(models, settings.shadow_share)
        stack.callback(shadow.close)

        executor = ThreadPoolExecutor(settings.ranking_threads, "ranking")
        stack.callback(executor.shutdown, cancel_futures=True)
        engine = Engine(
            models,
            store,
            lists,
            clock,
            executor,
            state_timeout_seconds=settings.state_timeout_ms / 1000,
            observe=shadow.observe,
        )
        intake = Intake(
            models,
            buffer,
            updater,
            Attribution(list_log, signer),
            clock,
            apply_timeout_seconds=settings.apply_timeout_ms / 1000,
        )
        servicers = (RecommendationServicer(engine), EventServicer(intake, settings.max_events_per_batch))
        recording = stack.enter_context(recorded(settings, Parts(engine, store, buffer, updater)))
        port = await stack.enter_async_context(listening(settings, servicers, recording))
        if settings.admin_port is not None and seat.worker == 0:
            admin = AdminServicer(workspace, models, follower, shadow)
            its_own = {
                "host": settings.admin_host,
                "port": settings.admin_port,
                "workers": 1,
                "drain_seconds": 0.0,
            }
            bound = await stack.enter_async_context(
                listening(settings.model_copy(update=its_own), (admin,), recording)
            )
            _log.info("the AdminService listens", host=settings.admin_host, port=bound)
            seat.admin(bound)
        yield port


async def serve_until_stopped(
    workspace: Workspace,
    settings: Settings,
    model: RankingPipeline | Model,
    states: Iterable[tuple[str, UserState]],
    announce: Callable[[int], None],
    *,
    seat: Seat | None = None,
) -> None:
    """Run a server until SIGTERM or SIGINT; see ``serving``.

    Args:
        workspace: Its workspace.
        settings: How to run.
        model: The loaded model.
        states: User ids and their states.
        announce: Called with the port once the server is ready.
        seat: Which of several server processes this is; absent when it is alone.
    """
    stopped = asyncio.Event()
    async with serving(workspace, settings, model, states, seat) as port:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        if seat is not None:
            seat.until(stopped)
        announce(port)
        await stopped.wait()


def _signer(settings: Settings, workspace: Workspace) -> Signer:
    keys = settings.token_keys
    configured = None if keys is None else keys.get_secret_value()
    return Signer(signing_keys(configured, workspace.state), settings.tenant)


async def _until_loaded(board: ProgressBoard) -> None:
    """Wait for the worker that fills the store: answers before that would not be personal."""
    while board.stage(0) < LOADED:
        await asyncio.sleep(_POLL_SECONDS)


def _clock(settings: Settings, event_log: EventLog, buffer: EventBuffer, board: ProgressBoard) -> Clock:
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


def _run(stack: AsyncExitStack, name: str, work: Coroutine[None, None, None]) -> None:
    """Run a task until the stack unwinds; should it end before, say so."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a background task ended", task=task.get_name(), exc_info=error)
