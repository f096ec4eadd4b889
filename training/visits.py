"""Past decisions in the middle of a visit: what a user does after the first things that were taken.

The decisions at a window's start know nothing of who comes later. Where visits are short, that is everybody
there is to recommend to, so users are also met within the window, at a moment with something before it.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from features.log import OfflineLog, events_of
from features.moments import offline_moments
from features.registry import names, online_matrix, require_parts_fitted_before
from recsys.moment import Parts
from recsys.progress import progress
from recsys.schema import AS_OF, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, QUERY_ID, USER_ID
from training.decisions import Decisions, as_decisions
from training.labels import LABEL, grades, grades_by_query
from training.offers import ORDERS, ROWS, Offers

_AT_ONCE = 500
"""Moments whose user states are held in memory together."""
_TIME = "time_ms"


def collect_visits(events: pl.LazyFrame, parts: Parts, from_ms: int, to_ms: int) -> dict[str, Decisions]:
    """Build one ranking group per user at a moment within a label window, by what there is to order.

    A user's moment is drawn among the times of the user's own events in the window but the first; the labels
    are what the user takes from then to the window's end. Of more than ``ranker.num_visits`` users, that many
    are drawn.

    Args:
        events: Event log with ``effective_time``, until the end of the data.
        parts: Parts that were fitted before the window.
        from_ms: Start of the window; milliseconds since the epoch.
        to_ms: End of the window, exclusive.

    Raises:
        LeakageError: A fitted part saw events at or after ``from_ms``.
    """
    require_parts_fitted_before(parts, from_ms)
    taken = _taken(events, parts, from_ms, to_ms)
    queries = _moments(taken, parts, from_ms)
    labels = (
        queries.join(taken, on=USER_ID)
        .filter(pl.col(_TIME) >= pl.col(AS_OF))
        .group_by(QUERY_ID, ITEM_ID)
        .agg(pl.col(LABEL).max())
    )
    grades_of = grades_by_query(labels, parts)
    offers = Offers(events, parts, from_ms)
    theirs = events_of(events, queries[USER_ID])
    log = OfflineLog.of(theirs, queries, parts.catalogue, parts.config) if queries.height else None
    described = []
    with progress("reading visits", queries.height) as advance:
        for chunk in queries.iter_slices(_AT_ONCE):
            assert log is not None
            moments = offline_moments(replace(log, queries=chunk), parts, events)
            described += offers.described(moments, grades_of, online_matrix, advance)
    rows = pl.concat([pl.DataFrame(schema=ROWS), *(frame for frame, _ in described)])
    nothing = np.empty((0, len(names(parts.config.state))), np.float32)
    matrix = np.concatenate([nothing, *(block for _, block in described)])
    found = {name: rows[name].to_numpy() for name in ORDERS}
    users = queries[USER_ID].to_list()
    return {
        name: as_decisions(matrix[kept], rows.drop(ORDERS).filter(kept), users)
        for name, kept in found.items()
    }


def _taken(events: pl.LazyFrame, parts: Parts, from_ms: int, to_ms: int) -> pl.DataFrame:
    """``user_id, item_id, time_ms, label`` of what was taken in the window."""
    grade = grades(parts.config)
    time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    return (
        events.filter(time >= from_ms, time < to_ms, pl.col(EVENT_TYPE).is_in(list(grade)))
        .select(
            USER_ID,
            ITEM_ID,
            time.alias(_TIME),
            pl.col(EVENT_TYPE).replace_strict(grade, return_dtype=pl.Int64).alias(LABEL),
        )
        .collect()
    )


def _moments(taken: pl.DataFrame, parts: Parts, from_ms: int) -> pl.DataFrame:
    """``query_id, user_id, as_of``, in order of time."""
    random = np.random.default_rng((parts.config.seed, from_ms, 1))
    times = taken.select(USER_ID, _TIME).unique().sort(USER_ID, _TIME)
    later = times.filter(pl.col(_TIME) > pl.col(_TIME).min().over(USER_ID))
    of_each = (
        later.with_columns(draw=pl.Series(random.random(later.height)))
        .sort("draw")
        .unique(USER_ID, keep="first", maintain_order=True)
        .sort(USER_ID)
    )
    drawn = of_each[np.sort(random.permutation(of_each.height)[: parts.config.ranker.num_visits])]
    return (
        drawn.select(USER_ID, pl.col(_TIME).alias(AS_OF))
        .sort(AS_OF, USER_ID)
        .with_row_index(QUERY_ID)
        .with_columns(pl.col(QUERY_ID).cast(pl.Int64))
    )
