"""Where the concrete classes meet: a workspace, settings and a pipeline become a running server."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog

from recsys.clock import Clock, ReplayClock, WallClock
from recsys.event_log import EventLog
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.schema import DAY_MS
from recsys.text_vector_cache import CACHE_FILE, TextVectorCache
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.catalog_servicer import CatalogServicer
from serving.current_pipeline import CurrentPipeline
from serving.embedded_store import embedded_store
from serving.engine import Engine, RankingPipeline
from serving.event_buffer import BUFFER_FILE, EventBuffer, SqliteEventBuffer
from serving.intake import Intake
from serving.item_intake import ItemIntake
from serving.live_catalogue import LiveCatalogue
from serving.loading import load_text_reader, warm_up
from serving.log_sync import LogSync
from serving.server import listening
from serving.servicer import EventServicer, RecommendationServicer
from serving.settings import Settings
from serving.state_store import StateStore, connect
from serving.state_updater import StateUpdater
from serving.text_vectors import TextVectorSource

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
        CatalogueError: The catalogue's changes cannot be opened.
        DataError: The event log is damaged.
        ConfigError: The address cannot be bound.
    """
    async with AsyncExitStack() as stack:
        event_log = EventLog(workspace.events)
        buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
        stack.callback(buffer.close)
        clock = _clock(settings, event_log, buffer)
        secret = settings.redis_url
        url = stack.enter_context(embedded_store()) if secret is None else secret.get_secret_value()
        store = StateStore(connect(url, settings.store_timeout_ms), settings.tenant, pipeline.config.state)
        stack.push_async_callback(store.close)

        current = CurrentPipeline(pipeline)
        updater = StateUpdater(buffer, store, current.record)
        sync = LogSync(event_log, buffer, store, updater)
        await sync.load(states)
        stack.push_async_callback(sync.compact)
        _run(stack, "state-updater", updater.run())
        _run(stack, "compaction", sync.run(settings.compact_every))

        executor = ThreadPoolExecutor(settings.ranking_threads, "ranking")
        stack.callback(executor.shutdown, cancel_futures=True)
        changes = ItemChanges(workspace.state / CHANGES_FILE)
        stack.callback(changes.close)
        cache = TextVectorCache(workspace.state / CACHE_FILE)
        stack.callback(cache.close)
        texts = TextVectorSource(cache, partial(load_text_reader, workspace))
        catalogue = LiveCatalogue(
            changes,
            texts,
            current,
            lambda changed: warm_up(changed, clock.now_ms()),
            stale_after=settings.catalogue_stale_after,
        )
        stack.callback(catalogue.close)
        await catalogue.look()
        _run(stack, "catalogue-watch", catalogue.watch())
        _run(stack, "catalogue-renewal", catalogue.renew())
        if settings.load_encoder:
            _run(stack, "encoder-load", catalogue.prepare())
        engine = Engine(
            current,
            store,
            clock,
            executor,
            state_timeout_seconds=settings.state_timeout_ms / 1000,
            vouch=catalogue.require_current,
        )
        intake = Intake(
            current, buffer, updater, clock, apply_timeout_seconds=settings.apply_timeout_ms / 1000
        )
        servicers = (
            RecommendationServicer(engine),
            EventServicer(intake, settings.max_events_per_batch),
            CatalogServicer(ItemIntake(changes), current, catalogue.wake),
        )
        yield await stack.enter_async_context(listening(settings, servicers, catalogue.is_current))


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
