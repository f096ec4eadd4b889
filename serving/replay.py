"""Moments of the past, answered in order of time by a pipeline that knows what was known then."""

from collections.abc import Iterator

import polars as pl

from features.log import require_fitted_before
from features.states import states_at
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.influence import counted
from recsys.log_presence import require_events
from recsys.schema import (
    AS_OF,
    EFFECTIVE_TIME,
    EVENT_TIME,
    EVENT_TYPE,
    EVENT_TYPE_CODES,
    ITEM_ID,
    TIMESTAMP,
    USER_ID,
)
from recsys.user_shard import every_shard
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.loading import load_pipeline

_ORDER = "_order"


class Replay:
    """Runs through queries in order of time, with the log's events recorded as they become visible."""

    def __init__(
        self,
        workspace: Workspace,
        queries: pl.DataFrame,
        at_ms: int | None = None,
        version: str | None = None,
    ) -> None:
        """Load a pipeline that stands at the first query.

        Args:
            workspace: The workspace.
            queries: ``user_id[, event_time]``, in any order; at least one.
            at_ms: As-of of the rows without their own, milliseconds since the epoch; the end of the log when
                absent.
            version: The bundle; the registry's ``stable`` when absent.

        Raises:
            DataError: There are no queries, or no events.
            BundleError: There is no such bundle, or it does not verify.
            LeakageError: The bundle was fitted on events later than a query.
        """
        if queries.is_empty():
            raise DataError("there is nobody to answer: the file holds no rows")
        self._log = EventLog(workspace.events)
        default_ms = at_ms if at_ms is not None else (self._log.end_ms() or 0) + 1
        times = (
            pl.col(EVENT_TIME).cast(TIMESTAMP).dt.epoch("ms")
            if EVENT_TIME in queries.columns
            else pl.lit(None, pl.Int64)
        )
        self._queries = (
            queries.select(pl.col(USER_ID).cast(pl.String), times.fill_null(default_ms).alias(AS_OF))
            .with_row_index(_ORDER)
            .sort(AS_OF, _ORDER)
        )
        first_ms: int = self._queries[AS_OF][0]
        self.pipeline = load_pipeline(workspace, at_ms=first_ms, version=version)
        require_events(workspace)
        manifest = self.pipeline.bundle.manifest
        require_fitted_before(f"bundle {manifest.version}", manifest.fitted_until_ms, first_ms)

    def moments(self) -> Iterator[tuple[int, int, UserState]]:
        """Row, as-of and user state of every query, in order of time.

        Where all have the same time, the states of one shard of users are in memory at a time.
        """
        if self._queries[AS_OF].n_unique() == 1:
            for shard in every_shard(self._log.num_shards):
                mine = self._queries.filter(shard.has(pl.col(USER_ID)))
                if not mine.is_empty():
                    yield from self._with_states(mine, self._log.scan(shard=shard))
            return
        later = self._later_events()
        event = next(later, None)
        for row, as_of_ms, state in self._with_states(self._queries, self._log.scan()):
            while event is not None and event[2] < as_of_ms:
                self.pipeline.record(*event)
                event = next(later, None)
            yield row, as_of_ms, state

    def _with_states(
        self, queries: pl.DataFrame, events: pl.LazyFrame
    ) -> Iterator[tuple[int, int, UserState]]:
        catalogue, config = self.pipeline.bundle.parts.catalogue, self.pipeline.config
        states = states_at(events, queries.select(USER_ID, AS_OF), catalogue, config)
        asked = queries.select(_ORDER, AS_OF).iter_rows()
        for (row, as_of_ms), (_, state) in zip(asked, states, strict=True):
            yield row, as_of_ms, state

    def _later_events(self) -> Iterator[tuple[str, int, int]]:
        first_ms, last_ms = self._queries[AS_OF][0], self._queries[AS_OF][-1]
        time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        rows = (
            counted(self._log.scan(last_ms), self.pipeline.config.state)
            .filter(time >= first_ms)
            .select(ITEM_ID, pl.col(EVENT_TYPE).replace_strict(EVENT_TYPE_CODES, return_dtype=pl.Int64), time)
            .sort(EFFECTIVE_TIME)
            .collect()
        )
        yield from rows.iter_rows()
