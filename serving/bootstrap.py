"""Where the concrete classes meet: a workspace, settings and a pipeline become a running server."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog

from recsys.clock import Clock, ReplayClock, WallClock
from recsys.event_log import EventLog
from recsys.schema import DAY_MS
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.attribution import Attribution
from serving.embedded_store import embedded_store
from serving.engine import Engine, RankingPipeline
from serving.event_buffer import BUFFER_FILE, EventBuffer, SqliteEventBuffer
from serving.intake import Intake
from serving.list_export import ListExport
from serving.list_log import LIST_FILE, ListLog
from serving.lists import Lists
from serving.log_sync import LogSync
from serving.page_store import PageStore
from serving.recorder import Parts, recorded
from serving.rule_watch import RuleWatch
from serving.server import listening
from serving.servicer import EventServicer, RecommendationServicer
from serving.settings import Settings
from serving.signer import Signer, signing_keys
from serving.state_store import StateStore, connect, connect_blocking
from serving.state_updater import StateUpdater

_OLD_DAYS = 30
"""Age of the log's last event, in days, from which a server on the wall's clock says so."""
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(
    workspace: Workspace,
    settings: Settings,
    pipeline: RankingPipeline,
    states: Iterable[tuple[str, UserState]],
) -> AsyncIterator[int]:
    """Run a server, and yield the port that it listens on once it is ready.

    On leaving, everything stops in the reverse order of its start: no call is cut off within the grace
    period, and every accepted event is in the buffer or the log.

    Args:
        workspace: Whose log the states and the pipeline's aggregates were read from; nothing may be added to
            the log in between.
        settings: How to run.
        pipeline: The loaded model.
        states: User ids and their states, of the whole log; read only when the store does not hold them.

    Raises:
        StoreError: The store does not start or does not answer.
        IntakeError: The event buffer cannot be opened.
        DataError: The event log is damaged.
        ConfigError: The address cannot be bound, or the tokens' keys are wrong.
    """
    async with AsyncExitStack() as stack:
        event_log = EventLog(workspace.events)
        buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
        stack.callback(buffer.close)
        clock = _clock(settings, event_log, buffer)
        signer = _signer(settings, workspace)
        secret = settings.redis_url
        url = stack.enter_context(embedded_store()) if secret is None else secret.get_secret_value()
        client = connect(url, settings.store_timeout_ms)
        store = StateStore(client, settings.tenant, pipeline.config.state)
        stack.push_async_callback(store.close)

        updater = StateUpdater(buffer, store, pipeline.record)
        sync = LogSync(event_log, buffer, store, updater)
        await sync.load(states)
        stack.push_async_callback(sync.compact)
        _run(stack, "state-updater", updater.run())
        _run(stack, "compaction", sync.run(settings.compact_every))
        _run(stack, "rules", RuleWatch(workspace.rules, pipeline.use_rules).run())

        list_log = ListLog(workspace.state / LIST_FILE)
        stack.callback(list_log.close)
        export = ListExport(list_log, workspace.served_lists, clock.now_ms, settings.list_retention)
        stack.push_async_callback(export.finish)
        _run(stack, "list-export", export.run(settings.compact_every))
        writer = connect_blocking(url, settings.store_timeout_ms)
        stack.callback(writer.close)
        pages = PageStore(client, writer, settings.tenant, settings.page_ttl)
        stack.callback(pages.close)
        lists = Lists(list_log, pages, signer, page_depth=settings.page_depth)

        executor = ThreadPoolExecutor(settings.ranking_threads, "ranking")
        stack.callback(executor.shutdown, cancel_futures=True)
        engine = Engine(
            pipeline, store, lists, clock, executor, state_timeout_seconds=settings.state_timeout_ms / 1000
        )
        intake = Intake(
            pipeline,
            buffer,
            updater,
            Attribution(list_log, signer),
            clock,
            apply_timeout_seconds=settings.apply_timeout_ms / 1000,
        )
        servicers = (RecommendationServicer(engine), EventServicer(intake, settings.max_events_per_batch))
        recording = stack.enter_context(recorded(settings, Parts(engine, store, buffer, updater)))
        yield await stack.enter_async_context(listening(settings, servicers, recording))


async def serve_until_stopped(
    workspace: Workspace,
    settings: Settings,
    pipeline: RankingPipeline,
    states: Iterable[tuple[str, UserState]],
    announce: Callable[[int], None],
) -> None:
    """Run a server until SIGTERM or SIGINT; see ``serving``.

    Args:
        workspace: Its workspace.
        settings: How to run.
        pipeline: The loaded model.
        states: User ids and their states.
        announce: Called with the port once the server is ready.
    """
    stopped = asyncio.Event()
    async with serving(workspace, settings, pipeline, states) as port:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        announce(port)
        await stopped.wait()


def _signer(settings: Settings, workspace: Workspace) -> Signer:
    keys = settings.token_keys
    configured = None if keys is None else keys.get_secret_value()
    return Signer(signing_keys(configured, workspace.state), settings.tenant)


def _clock(settings: Settings, event_log: EventLog, buffer: EventBuffer) -> Clock:
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
    return ReplayClock(max(event_log.end_ms() or 0, buffer.latest_ms()))


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
