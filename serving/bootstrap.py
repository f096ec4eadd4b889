"""Where the concrete classes meet: a workspace, settings and a pipeline become a running server."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import structlog

from recsys.clock import Clock, ReplayClock, WallClock
from recsys.digest_names import DIRECTORY
from recsys.errors import ConfigError, StoreError
from recsys.event_log import EventLog
from recsys.experiments.registry import ExperimentRegistry
from recsys.file_lock import shared
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.pipeline import Pipeline
from recsys.pseudonyms import Pseudonyms
from recsys.registry import Registry
from recsys.schema import DAY_MS
from recsys.text_reader import TextReader
from recsys.text_vector_cache import CACHE_FILE, TextVectorCache
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.admin import AdminServicer
from serving.attribution import Attribution
from serving.automation import AutomationSign
from serving.blurb_desk import BlurbDesk
from serving.blurb_servicer import BlurbServicer
from serving.call_limit import Limit
from serving.catalog_servicer import CatalogServicer
from serving.compaction import COMPACTION_LOCK
from serving.discretion import Discretion
from serving.edge import PseudonymEdge
from serving.embedded_store import embedded_store
from serving.engine import Engine, RankingPipeline
from serving.erased_pages import ErasedPages
from serving.erasure import SERVING_LOCK, Eraser, OnlineEraser, forget_when_erased
from serving.event_buffer import BUFFER_FILE, EventBuffer, SqliteEventBuffer
from serving.event_intake import EventIntake
from serving.experiment_servicer import ExperimentServicer
from serving.experiment_watch import ExperimentWatch
from serving.intake import Intake
from serving.item_intake import ItemIntake
from serving.late_blurbs import LateBlurbs
from serving.list_export import ListExport
from serving.list_log import LIST_FILE, ListLog
from serving.lists import Lists
from serving.live_catalogue import LiveCatalogue
from serving.loading import (
    LoggedStates,
    load_encoder,
    load_model,
    load_text_reader,
    require_signed,
    warm_up,
)
from serving.log_sync import LogSync
from serving.memory_guard import MemoryGuard, control_group
from serving.model_follower import ModelFollower
from serving.model_trial import try_bundle
from serving.models import Model, Models
from serving.origins import Origins
from serving.overload import Overload, Pressure
from serving.page_store import PageStore
from serving.privacy_servicer import PrivacyDesk
from serving.progress_board import LOADED, ProgressBoard
from serving.ranking_threads import RankingThreads
from serving.recorder import Watched, recorded
from serving.retention import prune
from serving.rule_watch import RuleWatch
from serving.server import listening
from serving.servicer import EventServicer, RecommendationServicer
from serving.settings import Settings
from serving.shadow import Shadow
from serving.signer import Signer, signing_keys
from serving.state_reader import StateReader
from serving.state_store import StateStore, connect, connect_blocking
from serving.state_updater import StateUpdater
from serving.store_watch import StoreWatch
from serving.text_vectors import TextVectorSource
from serving.threads import one_thread
from serving.treatments import Treatments

_POLL_SECONDS = 0.02
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
        CatalogueError: The catalogue's changes cannot be opened.
        DataError: The event log is damaged.
        ConfigError: The address cannot be bound, or the tokens' keys are wrong.
    """
    seat = Seat() if seat is None else seat
    models = Models(model if isinstance(model, Model) else Model(model))
    async with AsyncExitStack() as stack:
        stack.enter_context(shared(workspace.root / DIRECTORY / SERVING_LOCK))
        buffer = SqliteEventBuffer(workspace.state / BUFFER_FILE)
        stack.callback(buffer.close)
        clock = _clock(settings, EventLog(workspace.events), buffer, seat.board)
        site = _Site(stack, workspace, settings, seat, models, buffer, clock)
        secret = settings.redis_url
        url = stack.enter_context(embedded_store()) if secret is None else secret.get_secret_value()
        rules = models.stable.config.state
        discretion = Discretion(workspace.root)
        store = StateStore(connect(url, settings.store_timeout_ms), settings.tenant, rules, discretion)
        stack.push_async_callback(store.close)
        states_client = connect_blocking(url, settings.state_timeout_ms)
        stack.callback(states_client.close)
        lists = await site.lists(url)
        counted = site.counted()
        updater = await site.states(store, states)
        site.run("rules", RuleWatch(workspace.rules, models.use_rules).run())
        follower, shadow = site.models_in_service(counted)
        executor = RankingThreads(settings.ranking_threads)
        stack.callback(executor.shutdown, cancel_futures=True)
        reserve = ThreadPoolExecutor(1, "popular", initializer=one_thread)  # free when all others are stuck
        stack.callback(reserve.shutdown, cancel_futures=True)
        changes, catalogue = await site.catalogue()
        origins = Origins(store, settings.state_timeout_ms / 1000)
        treatments = Treatments(models, origins)
        eraser = site.erasures(store, lists, origins)
        await site.experiments(treatments, follower)
        desk = await site.blurbs(url, catalogue)
        engine = Engine(
            models,
            StateReader(states_client, store),
            lists,
            clock,
            executor,
            blurbs=desk.blurbs,
            observe=shadow.observe,
            vouch=catalogue.require_current,
            is_profiled=discretion.is_profiled,
            reserve=reserve,
        )
        intake = Intake(
            models,
            site.intake(),
            updater,
            Attribution(lists.list_log, lists.signer),
            clock,
            apply_timeout_seconds=settings.apply_timeout_ms / 1000,
            discretion=discretion,
            is_automated=AutomationSign(settings.automated_agents).is_seen,
        )
        servicers = (
            RecommendationServicer(engine, treatments, desk, LateBlurbs(desk.blurbs, desk.watch, executor)),
            EventServicer(intake, settings.max_events_per_batch),
            CatalogServicer(ItemIntake(changes), models, catalogue.wake),
            ExperimentServicer(treatments),
            BlurbServicer(desk, models, executor),
        )
        pseudonyms = Pseudonyms.configured(workspace)
        edge = None if pseudonyms is None else PseudonymEdge(pseudonyms)
        overload = site.overload(shadow)
        watched = Watched(
            engine, store, buffer, updater, treatments.substitutions, desk.blurbs.reader, overload
        )
        recording = stack.enter_context(recorded(settings, watched))
        port = await stack.enter_async_context(
            listening(
                settings,
                servicers,
                recording,
                catalogue.is_current,
                edge,
                overload=overload,
                takes_events=lambda: not buffer.has_failed,
            )
        )
        if settings.admin_port is not None and seat.worker == 0:
            privacy = PrivacyDesk(workspace, buffer, lists.list_log, store, eraser, discretion, clock)
            admin = AdminServicer(workspace, models, follower, shadow, privacy)
            bound = await stack.enter_async_context(
                listening(settings.for_admin(settings.admin_port), (admin,), recording, edge=edge)
            )
            _log.info("the AdminService listens", host=settings.admin_host, port=bound)
            seat.admin(bound)
        yield port


@dataclass(frozen=True, eq=False)
class _Site:
    """What the parts of one server are built on; what they leave open closes with its stack."""

    stack: AsyncExitStack
    workspace: Workspace
    settings: Settings
    seat: Seat
    models: Models
    buffer: EventBuffer
    clock: Clock

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

    async def states(self, store: StateStore, states: Iterable[tuple[str, UserState]]) -> StateUpdater:
        """Fill the store, and keep it and the log up to date with the buffer."""
        updater = StateUpdater(self.buffer, store, self.models, self.seat.board, self.seat.worker)
        self.stack.callback(updater.leave)
        self.seat.counting()
        if self.settings.kafka_servers is not None:  # ``recsys consume`` keeps the store and the log
            self.seat.board.reach(self.seat.worker, LOADED)
        elif self.seat.worker == 0:
            event_log = EventLog(self.workspace.events)
            sync = LogSync(event_log, self.buffer, store, updater, self._lock, prune=self._prune)
            try:
                await sync.load(states)
            except StoreError as error:  # answers are simpler meanwhile, and nothing is lost
                _log.error("the store is away; the server starts without states", reason=str(error))
            self.seat.board.reach(0, LOADED)
            self.stack.push_async_callback(sync.compact)
            self.run("state-updater", updater.run())
            self.run("compaction", sync.run(self.settings.compact_every))
            watch = StoreWatch(store, self.buffer, updater, sync, lambda: self._logged(states))
            self.run("store-watch", watch.run())
        else:
            await _until_loaded(self.seat.board)
            await updater.catch_up()
            self.run("state-updater", updater.run())
        return updater

    def intake(self) -> EventIntake:
        """Where events become durable: in the buffer, unless brokers are configured."""
        if self.settings.kafka_servers is None:
            return self.buffer
        from serving.kafka_intake import KafkaIntake

        intake = KafkaIntake(self.settings)
        self.stack.callback(intake.close)
        return intake

    def counted(self) -> EventBuffer:
        """The events behind the log, which models count; to be called while nothing moves into the log."""
        if self.settings.kafka_servers is None:
            return self.buffer
        try:
            from serving.kafka_tail import KafkaTail
        except ImportError as error:
            raise ConfigError(f"Kafka needs: pip install '.[kafka]' ({error})") from error
        tail = KafkaTail(self.workspace, self.settings, self.models)
        self.stack.callback(tail.close)
        self.run("kafka-tail", tail.run())
        return tail.buffer

    def _logged(self, states: Iterable[tuple[str, UserState]]) -> Iterable[tuple[str, UserState]]:
        """The log's states as the model that serves reads them; what came with another kind of model."""
        stable = self.models.stable
        return LoggedStates(self.workspace, stable) if isinstance(stable, Pipeline) else states

    async def lists(self, url: str) -> Lists:
        """Where lists that were served are kept, in the log and for their later pages."""
        settings = self.settings
        log = ListLog(self.workspace.state / LIST_FILE)
        self.stack.callback(log.close)
        if self.seat.worker == 0:
            export = ListExport(log, self.workspace.served_lists, self.clock.now_ms, settings.list_retention)
            self.stack.push_async_callback(export.finish)
            self.run("list-export", export.run(settings.compact_every))
        reader, writer = (
            connect(url, settings.store_timeout_ms),
            connect_blocking(url, settings.store_timeout_ms),
        )
        self.stack.push_async_callback(reader.aclose)
        self.stack.callback(writer.close)
        pages = PageStore(reader, writer, settings.tenant, settings.page_ttl)
        self.stack.callback(pages.close)
        return Lists(log, pages, _signer(settings, self.workspace), page_depth=settings.page_depth)

    def _prune(self) -> int:
        return prune(self.workspace, self.clock.now_ms())

    def erasures(self, store: StateStore, lists: Lists, origins: Origins) -> OnlineEraser:
        """Carry out erasures that were ordered, and let go of who was who whenever there is one."""
        eraser, tombstones = (
            Eraser(self.workspace, self.buffer, lists.list_log),
            Tombstones(self.workspace.root),
        )
        online = OnlineEraser(eraser, store, lists.pages, self.buffer)
        if self.seat.worker == 0:
            self.run("erasures", online.run())
            pages = lists.list_log, lists.pages, self.clock.now_ms, self.settings.page_ttl
            self.run("erased-pages", ErasedPages(tombstones, *pages).run())
        self.run("erasure-watch", forget_when_erased(tombstones, origins.forget))
        return online

    def models_in_service(self, counted: EventBuffer) -> tuple[ModelFollower, Shadow]:
        """Follow the registry, and let a shadow answer too; a model counts the log first, then the rest."""

        def load(version: str) -> Model:
            require_signed(self.workspace, self.settings, version)
            if self.settings.try_models:
                try_bundle(Registry(self.workspace.registry).path(version))
            return load_model(self.workspace, counted, self.clock.now_ms(), version)

        follower = ModelFollower(Registry(self.workspace.registry), self.models, load, self._lock)
        self.stack.push_async_callback(follower.close)
        self.run("model-follower", follower.run())
        shadow = Shadow(self.models, self.settings.shadow_share)
        self.stack.callback(shadow.close)
        return follower, shadow

    def overload(self, shadow: Shadow) -> Overload:
        """What refuses calls that would only wait, or that memory has no room for."""
        settings, most = self.settings, self.settings.max_concurrent_requests
        busy = max(2 * settings.ranking_threads, settings.least_concurrent_requests)  # no thread is idle
        least = min(busy, most) if settings.adaptive_limit else most
        guard = MemoryGuard(lambda: control_group(settings.memory_limit_bytes))
        self.run("memory-guard", guard.run())
        shadow.may_work = lambda: guard.pressure is Pressure.NONE
        overload = Overload(Limit(least, most), lambda: guard.pressure)
        self.run("loop-lag", overload.watch_loop())
        return overload

    async def experiments(self, treatments: Treatments, follower: ModelFollower) -> None:
        """Follow the experiments that run, and have the models that they name in memory."""
        watch = ExperimentWatch(ExperimentRegistry(self.workspace), treatments.use_book, follower)
        await asyncio.to_thread(watch.look)  # from the first answer on
        self.run("experiments", watch.run())

    async def blurbs(self, url: str, catalogue: LiveCatalogue) -> BlurbDesk:
        """Follow the published blurbs; one process of all publishes them."""
        desk = BlurbDesk.open(self.workspace, self.settings, url, self.models.stable.config)
        self.stack.push_async_callback(desk.close)
        await desk.watch.look()
        self.run("blurb-watch", desk.watch.run())
        self.run("blurb-segments", desk.segments.run(self.models.all, catalogue.vectors))
        if self.seat.worker == 0:
            self.run("blurb-publisher", desk.publish())
        return desk

    async def catalogue(self) -> tuple[ItemChanges, LiveCatalogue]:
        """Follow the catalogue's changes."""
        changes = ItemChanges(self.workspace.state / CHANGES_FILE)
        self.stack.callback(changes.close)
        cache = TextVectorCache(self.workspace.state / CACHE_FILE)
        self.stack.callback(cache.close)
        catalogue = LiveCatalogue(
            changes,
            TextVectorSource(cache, self._text_reader),
            self.models,
            lambda changed: warm_up(changed, self.clock.now_ms()),
            stale_after=self.settings.catalogue_stale_after,
        )
        self.stack.callback(catalogue.close)
        await catalogue.look()
        self.run("catalogue-watch", catalogue.watch())
        self.run("catalogue-renewal", catalogue.renew())
        self.run("encoder-load", self._load_encoders(catalogue))
        return changes, catalogue

    async def _load_encoders(self, catalogue: LiveCatalogue) -> None:
        """Load what was put off for the sake of a fast start, and what the first new text will need.

        The end of the process does not wait for it: a server that is told to stop while it loads stops.
        """
        loader = Thread(target=load_encoder, args=(self.models.stable,), name="query-encoder", daemon=True)
        loader.start()
        while loader.is_alive():
            await asyncio.sleep(_POLL_SECONDS)
        if self.settings.load_encoder:
            await catalogue.prepare()

    def _text_reader(self, version: str) -> TextReader:
        return load_text_reader(self.workspace, version, self.models.all())

    @property
    def _lock(self) -> Path:
        return self.workspace.state / COMPACTION_LOCK


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


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a background task ended", task=task.get_name(), exc_info=error)
