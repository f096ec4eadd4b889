"""Proof that both sides agree: replays a log through the online path and compares it with the offline values.

The online side starts from nothing and applies every event of the sampled users, in the order of their times,
through the same ``UserState`` bytes and the same ``ItemState`` that a server keeps. At moments drawn from the
users' own histories it computes every feature for the candidates of that moment; the offline side computes
them in Polars from the log alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from features.log import POSITION, OfflineLog
from features.moments import offline_moments
from features.registry import as_ranker_input, names, offline_matrix, online_matrix
from recsys.bundle import Bundle
from recsys.candidates import gather
from recsys.event_log import EventLog
from recsys.influence import Influence
from recsys.item_state import ItemState
from recsys.moment import Moment
from recsys.progress import progress
from recsys.schema import (
    AS_OF,
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_TYPE,
    EVENT_TYPE_CODES,
    ITEM_ID,
    MERGE_TIME,
    QUERY_ID,
    RECEIVED_TIME,
    USER_ID,
    VISITOR,
)
from recsys.user_items import user_items
from recsys.user_state import UserState

_WINDOWS = 1000  # that a replay remembers, for events that were received late
_MERGE = "merge"  # stands where events have their type
TOLERANCE = 1e-6
"""Largest difference, relative to values above 1 and absolute below."""


@dataclass
class ParityReport:
    """What the comparison found."""

    rows: int = 0
    """(query, item) pairs compared."""
    max_error: dict[str, float] = field(default_factory=dict)
    """Largest ``|online - offline| / max(1, |offline|)`` by feature; infinite where one side has a value and
    the other none."""
    order_mismatches: int = 0
    """Queries whose final order differs although no feature lies within the tolerance of a split."""
    excluded_users: int = 0
    """Users above ``state.max_rows_per_user``, which the online state cuts and the log does not."""

    @property
    def ok(self) -> bool:
        """Whether there were rows, and all agree."""
        return (
            self.rows > 0
            and not self.order_mismatches
            and all(e <= TOLERANCE for e in self.max_error.values())
        )

    def to_json(self) -> dict[str, Any]:
        """The document of ``recsys verify parity --json``; an infinite error is ``null``."""
        errors = [{"name": n, "max_error": e if np.isfinite(e) else None} for n, e in self.max_error.items()]
        return {
            "ok": self.ok,
            "rows": self.rows,
            "features": errors,
            "order_mismatches": self.order_mismatches,
            "excluded_users": self.excluded_users,
        }


def verify_parity(bundle: Bundle, log: EventLog, *, num_users: int = 200, seed: int = 0) -> ParityReport:
    """Compare both sides for sampled users at sampled moments after the bundle's data ended.

    Args:
        bundle: Whose parts, features and ranker to use.
        log: The event log.
        num_users: Users to draw; the moments are spread over at most 20 distinct times.
        seed: Seed of the draw.
    """
    config = bundle.manifest.config
    queries, excluded = _draw(bundle, log, num_users, seed)
    report = ParityReport(max_error=dict.fromkeys(names(config.state), 0.0), excluded_users=excluded)
    if queries.is_empty():
        return report
    offline_log = OfflineLog.of(log.scan(), queries, bundle.parts.catalogue, config)
    offline = dict(offline_moments(offline_log, bundle.parts, log.scan()))
    online_rows, pairs = [], []
    with progress("replaying the log", queries.height) as advance:
        for query_id, moment in _replayed(bundle, log, queries):
            candidates = gather(
                moment, config.placements["home"].sources, config.candidates, np.empty(0, np.int64)
            )
            online_rows.append(online_matrix(moment, candidates.positions))
            pairs.append(
                pl.DataFrame(
                    {QUERY_ID: query_id, POSITION: candidates.positions},
                    schema_overrides={QUERY_ID: pl.Int64},
                )
            )
            advance(1)
    theirs = offline_matrix(offline_log, pl.concat(pairs), offline)
    _compare(report, bundle, np.concatenate(online_rows), theirs, [frame.height for frame in pairs])
    return report


def _draw(bundle: Bundle, log: EventLog, num_users: int, seed: int) -> tuple[pl.DataFrame, int]:
    """Queries of known users, and how many users are too large to compare."""
    config = bundle.manifest.config
    fitted_until_ms = bundle.manifest.fitted_until_ms
    end_ms = (log.end_ms() or 0) + 1
    sizes = (
        log.scan()
        .group_by(USER_ID)
        .agg(rows=pl.struct(ITEM_ID, EVENT_TYPE).n_unique())
        .sort(USER_ID)
        .collect()
    )
    fits = sizes.filter(pl.col("rows") <= config.state.max_rows_per_user)
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(fitted_until_ms, max(end_ms, fitted_until_ms + 1), 19))
    times = np.unique(np.append(times, end_ms))
    chosen = fits[np.sort(random.permutation(fits.height)[:num_users]).tolist()]
    queries = chosen.with_row_index(QUERY_ID).select(
        pl.col(QUERY_ID).cast(pl.Int64),
        USER_ID,
        pl.Series(AS_OF, times[np.arange(chosen.height) % len(times)], pl.Int64),
    )
    return queries, sizes.height - fits.height


def _replayed(bundle: Bundle, log: EventLog, queries: pl.DataFrame) -> Iterator[tuple[int, Moment]]:
    """The moment of every query, from events applied one by one, in order of time."""
    config, catalogue = bundle.manifest.config, bundle.parts.catalogue
    items = ItemState(catalogue, config.state)
    influence = Influence(config.state, windows=_WINDOWS)
    remembered = config.state.remembered
    wanted = set(queries[USER_ID].to_list())
    wanted |= set(log.merges().filter(pl.col(USER_ID).is_in(list(wanted)))[VISITOR].to_list())
    stored: dict[str, bytes] = {}
    nobody = UserState(config.state.half_lives_days)

    def state_of(who: str) -> UserState:
        return UserState.from_bytes(stored[who]) if who in stored else nobody

    events = _timeline(log)
    event = next(events, None)
    for query_id, user_id, as_of_ms in (
        queries.sort(AS_OF, QUERY_ID).select(QUERY_ID, USER_ID, AS_OF).iter_rows()
    ):
        while event is not None and event[3] < as_of_ms:
            who, item_id, name, time_ms, received_ms = event
            if name == _MERGE:
                merged = state_of(who).merged_with(state_of(item_id)).capped(config.state.max_rows_per_user)
                stored[who] = merged.to_bytes()
                stored.pop(item_id, None)
                event = next(events, None)
                continue
            code = EVENT_TYPE_CODES[name]
            if influence.counts(who, item_id, name, received_ms) and item_id in catalogue.position:
                items.record(catalogue.position[item_id], code, time_ms)
            if who in wanted and name in remembered:
                held = stored.get(who)
                state = UserState.from_bytes(held) if held else UserState(config.state.half_lives_days)
                state.apply(
                    item_id,
                    code,
                    time_ms,
                    is_purchase=name == "purchase",
                    max_rows=config.state.max_rows_per_user,
                )
                stored[who] = state.to_bytes()
            event = next(events, None)
        user = user_items(state_of(user_id), catalogue, config, as_of_ms)
        yield (
            query_id,
            Moment(bundle.parts, as_of_ms, user, items.popularity(as_of_ms)),
        )


def _timeline(log: EventLog) -> Iterator[tuple[str, str, str, int, int]]:
    """User, item, event type, time and time of receipt of every event; of merges user, visitor and times.

    In order of time.
    """
    events = log.scan().select(USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME, EVENT_ID, RECEIVED_TIME)
    merges = log.merges().select(
        USER_ID,
        pl.col(VISITOR).alias(ITEM_ID),
        pl.lit(_MERGE).alias(EVENT_TYPE),
        pl.col(MERGE_TIME).alias(EFFECTIVE_TIME),
        pl.lit(None, pl.String).alias(EVENT_ID),
        pl.col(MERGE_TIME).alias(RECEIVED_TIME),
    )
    ordered = pl.concat([events, merges.lazy()]).sort(EFFECTIVE_TIME, pl.col(EVENT_TYPE) == _MERGE, EVENT_ID)
    return (
        ordered.select(USER_ID, ITEM_ID, EVENT_TYPE, pl.col(EFFECTIVE_TIME, RECEIVED_TIME).dt.epoch("ms"))
        .collect()
        .iter_rows()
    )


def _compare(
    report: ParityReport,
    bundle: Bundle,
    online: Float64[np.ndarray, "rows features"],
    offline: Float64[np.ndarray, "rows features"],
    groups: list[int],
) -> None:
    report.rows = len(online)
    with np.errstate(invalid="ignore"):
        error = np.abs(online - offline) / np.maximum(1.0, np.abs(offline))
    both_none = np.isnan(online) & np.isnan(offline)
    error = np.where(both_none, 0.0, np.where(np.isnan(error), np.inf, error))
    report.max_error = {name: float(error[:, i].max()) for i, name in enumerate(report.max_error)}
    ours, theirs = (bundle.ranker("all").scores(as_ranker_input(matrix)) for matrix in (online, offline))
    near = _near_a_split(bundle, online, offline)
    start = 0
    for size in groups:
        rows = slice(start, start + size)
        start += size
        moved = np.argsort(-ours[rows], kind="stable") != np.argsort(-theirs[rows], kind="stable")
        if moved.any() and not near[rows].any():
            report.order_mismatches += 1


def _near_a_split(
    bundle: Bundle,
    online: Float64[np.ndarray, "rows features"],
    offline: Float64[np.ndarray, "rows features"],
) -> Bool[np.ndarray, " rows"]:
    """Rows with a feature that differs and lies within the tolerance of a threshold of the ranker."""
    near = np.zeros(len(online), bool)
    for column, thresholds in enumerate(bundle.ranker("all").thresholds()):
        if len(thresholds):
            values = online[:, column]
            at = np.searchsorted(thresholds, values)
            below, above = thresholds[np.maximum(at - 1, 0)], thresholds[np.minimum(at, len(thresholds) - 1)]
            gap = np.fmin(np.abs(values - below), np.abs(values - above))
            close = gap <= TOLERANCE * np.maximum(1.0, np.abs(values))
            near |= close & (values != offline[:, column])
    return near
