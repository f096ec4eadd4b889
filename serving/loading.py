"""From a workspace to a pipeline and the states it answers with."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
import structlog

from features.registry import OnlineFeatures, fingerprint
from features.states import every_state, read_columns, states_at
from recsys.answer import Query
from recsys.bundle import Bundle, load_bundle
from recsys.errors import RecsysError
from recsys.event_log import EventLog
from recsys.item_changes import CHANGES_FILE, ItemChange, ItemChanges
from recsys.item_state import ItemState
from recsys.live_parts import Renewed, TextVectors, unread_texts, with_changes
from recsys.manifest import read_manifest
from recsys.pipeline import Pipeline
from recsys.registry import Registry
from recsys.rules import load_rules
from recsys.schema import AS_OF, EVENT_TYPE_CODES, USER_ID
from recsys.signature import read_key, require_signature
from recsys.text_reader import TextReader
from recsys.text_vector_cache import CACHE_FILE, TextVectorCache
from recsys.user_shard import ALL_USERS, every_shard
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.compaction import not_in_log
from serving.event_buffer import SqliteEventBuffer
from serving.models import Model
from serving.ranking_pipeline import RankingPipeline
from serving.settings import Settings
from serving.text_vectors import TextVectorSource

_AGAIN_SECONDS = 0.05
_BUFFERED_AT_ONCE = 10_000
_log = structlog.get_logger(__name__)


def load_pipeline(workspace: Workspace, *, at_ms: int | None = None, version: str | None = None) -> Pipeline:
    """Load a bundle, with the items' popularity from the log and the catalogue's changes.

    Args:
        workspace: The workspace.
        at_ms: Stand at this moment, milliseconds since the epoch; the end of the log when absent.
        version: The bundle; the registry's ``stable`` when absent.

    Raises:
        BundleError: There is no such bundle, or it does not verify.
        ConfigError: The rules cannot be read.
        CatalogueError: The catalogue's changes cannot be read.
    """
    registry = Registry(workspace.registry)
    directory = registry.path(version) if version is not None else registry.stable()
    config = read_manifest(directory).config
    bundle = load_bundle(directory, fingerprint(config.state))
    changes = _changes(workspace)
    renewed = _renewed(workspace, bundle, changes)
    log = EventLog(workspace.events)
    moment = at_ms if at_ms is not None else (log.end_ms() or 0) + 1
    parts = bundle.parts if renewed is None else renewed.parts
    items = ItemState.from_events(parts.catalogue, config.state, log.scan(), moment)
    through = 0
    if renewed is not None:
        items.lend(renewed.prior)
        bundle, through = replace(bundle, parts=parts), changes[-1].sequence
    rules = load_rules(workspace.rules)
    pipeline = Pipeline(bundle, items, OnlineFeatures(config.state), rules, changed_through=through)
    pipeline.withdraw(changes)
    return pipeline


def require_signed(workspace: Workspace, settings: Settings, version: str | None = None) -> None:
    """Refuse a bundle without the signature that the settings ask for, if they do.

    Args:
        workspace: The workspace.
        settings: Name the file with the key.
        version: The bundle; the registry's ``stable`` when absent.

    Raises:
        BundleError: There is no such bundle, or it is not signed with that key.
        ConfigError: The key cannot be read.
    """
    if settings.require_signature is not None:
        registry = Registry(workspace.registry)
        directory = registry.path(version) if version is not None else registry.stable()
        require_signature(directory, read_key(settings.require_signature))


def load_text_reader(
    workspace: Workspace, version: str, pipelines: Iterable[RankingPipeline] = ()
) -> TextReader:
    """Load the encoders of a version.

    Args:
        workspace: The workspace.
        version: The bundle.
        pipelines: What is in memory: the encoder of one of that version is not loaded again.

    Raises:
        BundleError: There is no such bundle, or it does not verify.
        ConfigError: Its encoder cannot be read.
    """
    directory = Registry(workspace.registry).path(version)
    same = (one.bundle.queries for one in pipelines if isinstance(one, Pipeline) and one.version == version)
    return TextReader(directory, read_manifest(directory).config.encoder, next(same, None))


def warm_up(pipeline: RankingPipeline, at_ms: int) -> None:
    """Answer a made-up shopper from every placement: no real one then waits for what a first answer costs.

    That loads the text encoder, unless it is postponed, see ``postpone_encoder``.

    Args:
        pipeline: A loaded pipeline; of other kinds than the engine's own, nothing is known to warm up.
        at_ms: The moment, milliseconds since the epoch.
    """
    if not isinstance(pipeline, Pipeline):
        return
    catalogue, rules = pipeline.bundle.parts.catalogue, pipeline.config.state
    shopper, some = UserState(rules.half_lives_days), catalogue.item_ids[:1]
    for item_id in some:
        purchase = EVENT_TYPE_CODES["purchase"]
        shopper.apply(item_id, purchase, at_ms - 1, is_purchase=True, max_rows=rules.max_rows_per_user)
    queries = pipeline.bundle.queries
    if queries is not None and not queries.is_postponed:
        queries.load()
    for name, placement in pipeline.config.placements.items():
        words = catalogue.texts[0] if some and placement.starts_from == "query" else ""
        pipeline.recommend(
            Query(at_ms, shopper, name, context_item_ids=tuple(some), query=words, explain=True)
        )
    if some:
        pipeline.rank(Query(at_ms, shopper, explain=True), some)


def postpone_encoder(pipeline: RankingPipeline) -> None:
    """Let a pipeline read queries by their words until ``load_encoder``: loading it is half of a start."""
    if isinstance(pipeline, Pipeline) and pipeline.bundle.queries is not None:
        pipeline.bundle.queries.postpone()


def load_encoder(pipeline: RankingPipeline) -> None:
    """Have a pipeline's text encoder in memory; this takes seconds."""
    if isinstance(pipeline, Pipeline) and pipeline.bundle.queries is not None:
        pipeline.bundle.queries.load()


def load_model(
    workspace: Workspace, buffer: SqliteEventBuffer, now_ms: int, version: str | None = None
) -> Model:
    """Load a bundle, warmed up, with every event counted: those of the log, and those not there yet.

    The caller holds the lock of ``serving.compaction`` shared, until the model counts along with others.

    Args:
        workspace: The workspace.
        buffer: Its event buffer.
        now_ms: The moment to warm up for, milliseconds since the epoch.
        version: The bundle; the registry's ``stable`` when absent.

    Raises:
        BundleError: There is no such bundle, or it does not verify.
        DataError: The event log is damaged.
        IntakeError: The buffer failed.
    """
    pipeline = load_pipeline(workspace, version=version)
    warm_up(pipeline, now_ms)
    return up_to_date(pipeline, workspace, buffer)


def up_to_date(pipeline: RankingPipeline, workspace: Workspace, buffer: SqliteEventBuffer) -> Model:
    """A pipeline that was loaded from the log, with the events counted that are not there yet.

    The caller holds the lock of ``serving.compaction``, see ``load_model``.
    """
    model, event_log = Model(pipeline), EventLog(workspace.events)
    while events := buffer.since(model.counted, _BUFFERED_AT_ONCE):
        model.count(not_in_log(events, event_log))
        model.counted = events[-1].sequence
    return model


def log_end_ms(workspace: Workspace) -> int:
    """The moment after the last event of the log, milliseconds since the epoch."""
    return (EventLog(workspace.events).end_ms() or 0) + 1


@dataclass(frozen=True, eq=False)
class LoggedStates:
    """The states of the users of the log at its end, read anew each time."""

    workspace: Workspace
    pipeline: Pipeline
    """Knows the items, and what a state remembers."""

    def __iter__(self) -> Iterator[tuple[str, UserState]]:
        """All of them, for an online store; in no particular order."""
        parts, config = self.pipeline.bundle.parts, self.pipeline.config
        log, end_ms = EventLog(self.workspace.events), log_end_ms(self.workspace)
        for shard in every_shard(log.num_shards):
            events = log.scan(shard=shard)
            if shard != ALL_USERS:  # of many small files, which are not to be opened again
                events = read_columns(events).collect().lazy()
            yield from every_state(events, end_ms, parts.catalogue, config, shard)

    def of(self, user_ids: Sequence[str]) -> Iterator[tuple[str, UserState]]:
        """Those of some users."""
        parts, config = self.pipeline.bundle.parts, self.pipeline.config
        end_ms = log_end_ms(self.workspace)
        queries = pl.DataFrame(
            {USER_ID: list(user_ids), AS_OF: [end_ms] * len(user_ids)},
            schema={USER_ID: pl.String, AS_OF: pl.Int64},
        )
        return states_at(EventLog(self.workspace.events).scan(), queries, parts.catalogue, config)


def load_states(workspace: Workspace, pipeline: Pipeline) -> Iterator[tuple[str, UserState]]:
    """The state of every user of the log at its end, once; see ``LoggedStates``."""
    return iter(LoggedStates(workspace, pipeline))


def _changes(workspace: Workspace) -> list[ItemChange]:
    path = workspace.state / CHANGES_FILE
    if not path.exists():
        return []
    with closing(ItemChanges(path)) as changes:
        return changes.since(0)


def _renewed(workspace: Workspace, bundle: Bundle, changes: list[ItemChange]) -> Renewed | None:
    """The bundle's parts with changes; ``None`` when there are none, or new texts cannot be read."""
    if not changes:
        return None
    version, texts = bundle.manifest.version, unread_texts(bundle.parts, changes)
    vectors: dict[str, TextVectors] = {}
    try:
        with closing(TextVectorCache(workspace.state / CACHE_FILE)) as cache:
            source = TextVectorSource(cache, partial(load_text_reader, workspace))
            while len(vectors) < len(texts):
                vectors |= source.find(version, [text for text in texts if text not in vectors])
                time.sleep(0 if len(vectors) == len(texts) else _AGAIN_SECONDS)
    except RecsysError as error:
        _log.error("changes of the catalogue wait", version=version, reason=str(error))
        return None
    return with_changes(bundle.parts, changes, vectors)
