"""From a workspace to a pipeline and the states it answers with."""

from collections.abc import Iterator

import polars as pl

from features.log import OfflineLog
from features.moments import offline_states
from features.registry import OnlineFeatures, fingerprint
from recsys.bundle import load_bundle
from recsys.event_log import EventLog
from recsys.item_state import ItemState
from recsys.manifest import read_manifest
from recsys.pipeline import Pipeline
from recsys.registry import Registry
from recsys.schema import AS_OF, QUERY_ID, USER_ID
from recsys.user_state import UserState
from recsys.workspace import Workspace

_USERS_AT_ONCE = 20_000


def load_pipeline(workspace: Workspace, *, at_ms: int | None = None, version: str | None = None) -> Pipeline:
    """Load a bundle, with the items' popularity from the log.

    Args:
        workspace: The workspace.
        at_ms: Stand at this moment, milliseconds since the epoch; the end of the log when absent.
        version: The bundle; the registry's ``stable`` when absent.

    Raises:
        BundleError: There is no such bundle, or it does not verify.
    """
    registry = Registry(workspace.registry)
    directory = registry.path(version) if version is not None else registry.stable()
    config = read_manifest(directory).config
    bundle = load_bundle(directory, fingerprint(config.state))
    log = EventLog(workspace.events)
    moment = at_ms if at_ms is not None else (log.end_ms() or 0) + 1
    items = ItemState.from_events(bundle.parts.catalogue, config.state, log.scan(), moment)
    return Pipeline(bundle, items, OnlineFeatures(config.state))


def load_states(workspace: Workspace, pipeline: Pipeline) -> Iterator[tuple[str, UserState]]:
    """The state of every user of the log at its end, for an online store."""
    log = EventLog(workspace.events)
    end_ms = (log.end_ms() or 0) + 1
    users = log.scan().select(USER_ID).unique().sort(USER_ID).collect()
    for start in range(0, users.height, _USERS_AT_ONCE):
        queries = users[start : start + _USERS_AT_ONCE].select(USER_ID, pl.lit(end_ms, pl.Int64).alias(AS_OF))
        yield from states_at(log, queries, pipeline)


def states_at(log: EventLog, queries: pl.DataFrame, pipeline: Pipeline) -> Iterator[tuple[str, UserState]]:
    """States of users as of their own moments, one at a time.

    Args:
        log: The event log.
        queries: ``user_id, as_of`` (milliseconds since the epoch).
        pipeline: Whose catalogue and configuration to read with.

    Yields:
        User id and state in the order of ``queries``; the state is empty for a user without events.
    """
    numbered = queries.with_row_index(QUERY_ID).with_columns(pl.col(QUERY_ID).cast(pl.Int64))
    parts = pipeline.bundle.parts
    offline = OfflineLog.of(log.scan(), numbered, parts.catalogue, pipeline.config)
    states = offline_states(offline)
    nobody = UserState(pipeline.config.state.half_lives_days)
    for query_id, user_id in numbered.select(QUERY_ID, USER_ID).iter_rows():
        yield user_id, states.get(query_id, nobody).capped(pipeline.config.state.max_rows_per_user)
