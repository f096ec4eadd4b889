"""Past decisions: what could have been recommended at a moment, and what the user then did."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from features.log import POSITION, OfflineLog
from features.moments import offline_moments
from features.registry import as_ranker_input, names, offline_matrix
from recsys.candidates import gather
from recsys.config import Config
from recsys.moment import Moment, Parts
from recsys.progress import progress
from recsys.schema import AS_OF, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, QUERY_ID, USER_ID

LABEL = "label"


@dataclass(frozen=True, eq=False)
class Decisions:
    """Ranking groups: the rows of one query are consecutive."""

    matrix: Float32[np.ndarray, "rows features"]
    labels: Int64[np.ndarray, " rows"]
    """Grade: the position of the event type's weight among ``gains(config)``."""
    groups: Int64[np.ndarray, " queries"]
    """Rows per query."""
    lost: int
    """Positives that no candidate source found: lost recall, never put in."""

    def __add__(self, other: "Decisions") -> "Decisions":
        return Decisions(
            np.concatenate((self.matrix, other.matrix)),
            np.concatenate((self.labels, other.labels)),
            np.concatenate((self.groups, other.groups)),
            self.lost + other.lost,
        )


def gains(config: Config) -> list[float]:
    """LambdaMART's label gains: 0, then the distinct positive event weights, ascending."""
    return [0.0, *sorted({weight for weight in config.state.event_weights.values() if weight > 0})]


def label_table(events: pl.LazyFrame, config: Config, from_ms: int, to_ms: int) -> pl.DataFrame:
    """The best grade of each user and item in a time window: ``user_id, item_id, label``."""
    grade = {name: gains(config).index(w) for name, w in config.state.event_weights.items() if w > 0}
    time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    return (
        events.filter(time >= from_ms, time < to_ms, pl.col(EVENT_TYPE).is_in(list(grade)))
        .group_by(USER_ID, ITEM_ID)
        .agg(pl.col(EVENT_TYPE).replace_strict(grade, return_dtype=pl.Int64).max().alias(LABEL))
        .collect()
    )


def collect_decisions(events: pl.LazyFrame, parts: Parts, as_of_ms: int, to_ms: int) -> Decisions:
    """Build the ranking groups of one label window.

    Every user who was known before ``as_of_ms`` and did something until ``to_ms`` is one query on the
    ``home`` placement. All positives among the candidates are kept, and ``num_negatives`` others drawn at
    random. Every decision comes twice: over all its candidates, and over those that are new to the user,
    because in the first the few first-time purchases weigh next to nothing against the repeated ones.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    config = parts.config
    labels = label_table(events, config, as_of_ms, to_ms)
    known = events.filter(pl.col(EFFECTIVE_TIME).dt.epoch("ms") < as_of_ms).select(USER_ID).unique().collect()
    users = labels.select(USER_ID).unique().join(known, on=USER_ID, how="semi").sort(USER_ID)
    queries = users.with_row_index(QUERY_ID).select(
        pl.col(QUERY_ID).cast(pl.Int64), USER_ID, pl.lit(as_of_ms, pl.Int64).alias(AS_OF)
    )
    if queries.is_empty():
        empty = np.empty((0, len(names(config.state))), np.float32)
        return Decisions(empty, np.empty(0, np.int64), np.empty(0, np.int64), 0)
    log = OfflineLog.of(events, queries, parts.catalogue, config)
    moments: dict[int, Moment] = {}
    offered, new_to_user = [], []
    with progress("gathering candidates", queries.height) as advance:
        for query_id, moment in offline_moments(log, parts, events):
            moments[query_id] = moment
            found = gather(
                moment, config.placements["home"].sources, config.candidates, np.empty(0, np.int64)
            )
            new_to_user.append(~np.isin(found.positions, moment.user.positions))
            offered.append(
                pl.DataFrame(
                    {QUERY_ID: query_id, POSITION: found.positions}, schema_overrides={QUERY_ID: pl.Int64}
                )
            )
            advance(1)
    positive = labels.join(queries, on=USER_ID).select(
        QUERY_ID,
        pl.col(ITEM_ID)
        .replace_strict(parts.catalogue.position, default=-1, return_dtype=pl.Int64)
        .alias(POSITION),
        LABEL,
    )
    pairs = pl.concat(offered).join(positive, on=[QUERY_ID, POSITION], how="left", maintain_order="left")
    label = pairs[LABEL].fill_null(0).to_numpy()
    keep = _thin(
        pairs[QUERY_ID].to_numpy(),
        label,
        config.ranker.num_negatives,
        np.random.default_rng((config.seed, as_of_ms)),
    )
    matrix = as_ranker_input(offline_matrix(log, pairs.select(QUERY_ID, POSITION), moments, keep))
    new = np.concatenate(new_to_user)[keep]
    query, label = pairs[QUERY_ID].to_numpy()[keep], label[keep]
    whole = Decisions(matrix, label, _group_sizes(query), positive.height - int((label > 0).sum()))
    return whole + _only(whole, query, new)


def _only(
    decisions: Decisions, query: Int64[np.ndarray, " rows"], wanted: Bool[np.ndarray, " rows"]
) -> Decisions:
    """The same decisions over some of their rows, where a positive is left."""
    has_positive = (
        np.bincount(query[wanted], decisions.labels[wanted], minlength=int(query.max(initial=0)) + 1) > 0
    )
    rows = wanted & has_positive[query]
    return Decisions(decisions.matrix[rows], decisions.labels[rows], _group_sizes(query[rows]), 0)


def _group_sizes(query: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " queries"]:
    return np.unique(query, return_counts=True)[1]


def _thin(
    query: Int64[np.ndarray, " pairs"],
    label: Int64[np.ndarray, " pairs"],
    num_negatives: int,
    random: np.random.Generator,
) -> Bool[np.ndarray, " pairs"]:
    """All positives, and at most ``num_negatives`` others per query."""
    draw = np.where(label > 0, -1.0, random.random(len(label)))
    order = np.lexsort((draw, query))
    starts = np.searchsorted(query[order], query[order])
    rank = np.arange(len(order)) - starts
    num_positive = np.bincount(query, label > 0).astype(np.int64)
    keep = np.zeros(len(label), bool)
    keep[order] = rank < num_positive[query[order]] + num_negatives
    return keep
