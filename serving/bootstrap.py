"""Where the concrete classes meet: a workspace, settings and a pipeline become a running server.

The order of the start is here, and its reverse is the order of the stop. What the parts stand on is in
``site``; ``stores``, ``event_flow`` and ``followers`` put together those that belong together.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from recsys.pseudonyms import Pseudonyms
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.admin import AdminServicer
from serving.attribution import Attribution
from serving.automation import AutomationSign
from serving.blurb_servicer import BlurbServicer
from serving.call_limit import Limit
from serving.catalog_servicer import CatalogServicer
from serving.edge import PseudonymEdge
from serving.engine import Engine
from serving.event_flow import counted_events, durable_intake, keep_states
from serving.experiment_servicer import ExperimentServicer
from serving.followers import (
    follow_blurbs,
    follow_catalogue,
    follow_experiments,
    follow_models,
    follow_rules,
)
from serving.intake import Intake
from serving.item_intake import ItemIntake
from serving.late_blurbs import LateBlurbs
from serving.memory_guard import MemoryGuard, control_group
from serving.models import Model, Models
from serving.origins import Origins
from serving.overload import Overload, Pressure
from serving.privacy_servicer import PrivacyDesk
from serving.ranking_pipeline import RankingPipeline
from serving.ranking_threads import RankingThreads
from serving.recorder import Watched, recorded
from serving.server import listening
from serving.servicer import EventServicer, RecommendationServicer
from serving.settings import Settings
from serving.shadow import Shadow
from serving.site import Seat, Site, open_site
from serving.state_updater import StateUpdater
from serving.stores import Stores, carry_out_erasures, open_stores
from serving.threads import one_thread
from serving.treatments import Treatments

_log = structlog.get_logger(__name__)


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
    models = Models(model if isinstance(model, Model) else Model(model))
    async with AsyncExitStack() as stack:
        site = open_site(stack, workspace, settings, models, Seat() if seat is None else seat)
        stores = open_stores(site)
        counted = counted_events(site)
        updater = await keep_states(site, stores.states, states)
        follow_rules(site)
        follower, shadow = follow_models(site, counted)
        executor, reserve = _threads(site)
        changes, catalogue = await follow_catalogue(site)
        origins = Origins(stores.states, settings.state_timeout_ms / 1000)
        treatments = Treatments(models, origins)
        eraser = carry_out_erasures(site, stores, origins)
        await follow_experiments(site, treatments, follower)
        desk = await follow_blurbs(site, stores.url, catalogue)
        engine = Engine(
            stores.reader,
            stores.lists,
            site.clock,
            executor,
            blurbs=desk.blurbs,
            observe=shadow.observe,
            vouch=catalogue.require_current,
            is_profiled=stores.discretion.is_profiled,
            reserve=reserve,
        )
        servicers = (
            RecommendationServicer(engine, treatments, desk, LateBlurbs(desk.blurbs, desk.watch, executor)),
            EventServicer(_intake(site, stores, updater), settings.max_events_per_batch),
            CatalogServicer(ItemIntake(changes), models, catalogue.wake),
            ExperimentServicer(treatments),
            BlurbServicer(desk, models, executor),
        )
        pseudonyms = Pseudonyms.configured(workspace)
        edge = None if pseudonyms is None else PseudonymEdge(pseudonyms)
        overload = _overload(site, shadow)
        watched = Watched(
            models,
            stores.reader,
            stores.states,
            site.buffer,
            updater,
            treatments.substitutions,
            desk.blurbs.reader,
            overload,
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
                takes_events=lambda: not site.buffer.has_failed,
            )
        )
        if settings.admin_port is not None and site.is_first:
            privacy = PrivacyDesk(
                workspace,
                site.buffer,
                stores.lists.list_log,
                stores.states,
                eraser,
                stores.discretion,
                site.clock,
            )
            admin = AdminServicer(workspace, models, follower, shadow, privacy)
            bound = await stack.enter_async_context(
                listening(settings.for_admin(settings.admin_port), (admin,), recording, edge=edge)
            )
            _log.info("the AdminService listens", host=settings.admin_host, port=bound)
            site.seat.admin(bound)
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


def _threads(site: Site) -> tuple[RankingThreads, ThreadPoolExecutor]:
    """The threads that rank, and one that is free when all of them are stuck."""
    executor = RankingThreads(site.settings.ranking_threads)
    site.stack.callback(executor.shutdown, cancel_futures=True)
    reserve = ThreadPoolExecutor(1, "popular", initializer=one_thread)
    site.stack.callback(reserve.shutdown, cancel_futures=True)
    return executor, reserve


def _intake(site: Site, stores: Stores, updater: StateUpdater) -> Intake:
    """What takes events in, and waits until the state has them."""
    return Intake(
        site.models,
        durable_intake(site),
        updater,
        Attribution(stores.lists.list_log, stores.lists.signer),
        site.clock,
        apply_timeout_seconds=site.settings.apply_timeout_ms / 1000,
        discretion=stores.discretion,
        is_automated=AutomationSign(site.settings.automated_agents).is_seen,
    )


def _overload(site: Site, shadow: Shadow) -> Overload:
    """What refuses calls that would only wait, or that memory has no room for."""
    settings, most = site.settings, site.settings.max_concurrent_requests
    busy = max(2 * settings.ranking_threads, settings.least_concurrent_requests)  # no thread is idle
    least = min(busy, most) if settings.adaptive_limit else most
    guard = MemoryGuard(lambda: control_group(settings.memory_limit_bytes))
    site.run("memory-guard", guard.run())
    shadow.may_work = lambda: guard.pressure is Pressure.NONE
    overload = Overload(Limit(least, most), lambda: guard.pressure)
    site.run("loop-lag", overload.watch_loop())
    return overload
