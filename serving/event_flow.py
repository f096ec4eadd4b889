"""The way of an event that a server has: made durable, applied to the store, counted, moved into the log."""

import asyncio
from collections.abc import Iterable

import structlog

from recsys.errors import ConfigError, StoreError
from recsys.event_log import EventLog
from recsys.pipeline import Pipeline
from recsys.user_state import UserState
from serving.event_buffer import SqliteEventBuffer
from serving.event_intake import EventIntake
from serving.loading import LoggedStates
from serving.log_sync import LogSync
from serving.progress_board import LOADED, ProgressBoard
from serving.retention import prune
from serving.site import Site
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_watch import StoreWatch

_POLL_SECONDS = 0.02
_log = structlog.get_logger(__name__)


def durable_intake(site: Site) -> EventIntake:
    """Where events become durable: in the buffer, unless brokers are configured."""
    if site.settings.kafka_servers is None:
        return site.buffer
    from serving.kafka_intake import KafkaIntake

    intake = KafkaIntake(site.settings)
    site.stack.callback(intake.close)
    return intake


def counted_events(site: Site) -> SqliteEventBuffer:
    """The events behind the log, which models count; to be called while nothing moves into the log.

    Raises:
        ConfigError: Brokers are configured, and their client is not installed.
    """
    if site.settings.kafka_servers is None:
        return site.buffer
    try:
        from serving.kafka_tail import KafkaTail
    except ImportError as error:
        raise ConfigError(f"Kafka needs: pip install '.[kafka]' ({error})") from error
    tail = KafkaTail(site.workspace, site.settings, site.models)
    site.stack.callback(tail.close)
    site.run("kafka-tail", tail.run())
    return tail.buffer


async def keep_states(site: Site, store: StateStore, states: Iterable[tuple[str, UserState]]) -> StateUpdater:
    """Fill the store, and keep it and the log up to date with the buffer.

    Args:
        site: Whose buffer and log.
        store: The store.
        states: User ids and their states, of the whole log.
    """
    updater = StateUpdater(site.buffer, store, site.models, site.seat.board, site.seat.worker)
    site.stack.callback(updater.leave)
    site.seat.counting()
    if site.settings.kafka_servers is not None:  # ``recsys consume`` keeps the store and the log
        site.seat.board.reach(site.seat.worker, LOADED)
    elif site.is_first:
        await _keep_log(site, store, updater, states)
    else:
        await _until_loaded(site.seat.board)
        await updater.catch_up()
        site.run("state-updater", updater.run())
    return updater


async def _keep_log(
    site: Site, store: StateStore, updater: StateUpdater, states: Iterable[tuple[str, UserState]]
) -> None:
    """Do what one process of all does: load the store, load it again when it was lost, and write the log."""
    event_log = EventLog(site.workspace.events)
    sync = LogSync(
        event_log,
        site.buffer,
        store,
        updater,
        site.compaction_lock,
        prune=lambda: prune(site.workspace, site.clock.now_ms()),
    )
    try:
        await sync.load(states)
    except StoreError as error:  # answers are simpler meanwhile, and nothing is lost
        _log.error("the store is away; the server starts without states", reason=str(error))
    site.seat.board.reach(0, LOADED)
    site.stack.push_async_callback(sync.compact)
    site.run("state-updater", updater.run())
    site.run("compaction", sync.run(site.settings.compact_every))
    watch = StoreWatch(store, site.buffer, updater, sync, lambda: _logged(site, states))
    site.run("store-watch", watch.run())


def _logged(site: Site, states: Iterable[tuple[str, UserState]]) -> Iterable[tuple[str, UserState]]:
    """The log's states as the model that serves reads them; what came with another kind of model."""
    stable = site.models.stable
    return LoggedStates(site.workspace, stable) if isinstance(stable, Pipeline) else states


async def _until_loaded(board: ProgressBoard) -> None:
    """Wait for the worker that fills the store: answers before that would not be personal."""
    while board.stage(0) < LOADED:
        await asyncio.sleep(_POLL_SECONDS)
