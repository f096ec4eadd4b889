"""Past decisions: what could have been recommended at a moment, and what the user then did."""

from collections.abc import Mapping
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
from recsys.schema import AS_OF, CREATED_TIME, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, QUERY_ID, USER_ID

LABEL = "label"
SOURCE_BITS = "source_bits"
_IS_NEW = "is_new"
_OFFERED = {QUERY_ID: pl.Int64(), POSITION: pl.Int64(), _IS_NEW: pl.Boolean(), SOURCE_BITS: pl.UInt16()}


@dataclass(frozen=True, eq=False)
class Decisions:
    """Ranking groups: the rows of one query are consecutive."""

    matrix: Float32[np.ndarray, "rows features"]
    labels: Int64[np.ndarray, " rows"]
    """Grade: the position of the event type's weight among ``gains(config)``."""
    positions: Int64[np.ndarray, " rows"]
    """Catalogue position of the candidate."""
    groups: Int64[np.ndarray, " queries"]
    """Rows per query."""
    users: list[str]
    """User per query."""
    lost: int
    """Positives that no candidate source found: lost recall, never put in."""
    places: Int64[np.ndarray, " rows"] | None = None
    """Place of the item on the list that was shown, -1 where it is not known; None without lists."""

    def __add__(self, other: "Decisions") -> "Decisions":
        places = [given for given in (self.places, other.places) if given is not None]
        return Decisions(
            np.concatenate((self.matrix, other.matrix)),
            np.concatenate((self.labels, other.labels)),
            np.concatenate((self.positions, other.positions)),
            np.concatenate((self.groups, other.groups)),
            self.users + other.users,
            self.lost + other.lost,
            np.concatenate(places) if len(places) == 2 else None,
        )


def gains(config: Config) -> list[float]:
    """LambdaMART's label gains: 0, then the distinct positive event weights, ascending."""
    return [0.0, *sorted({weight for weight in config.state.event_weights.values() if weight > 0})]


def grades(config: Config) -> dict[str, int]:
    """Label by event type, of the types with a positive weight: the weight's place among ``gains``."""
    return {name: gains(config).index(w) for name, w in config.state.event_weights.items() if w > 0}


def label_table(events: pl.LazyFrame, config: Config, from_ms: int, to_ms: int) -> pl.DataFrame:
    """The best grade of each user and item in a time window: ``user_id, item_id, label``."""
    grade = grades(config)
    time = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    return (
        events.filter(time >= from_ms, time < to_ms, pl.col(EVENT_TYPE).is_in(list(grade)))
        .group_by(USER_ID, ITEM_ID)
        .agg(pl.col(EVENT_TYPE).replace_strict(grade, return_dtype=pl.Int64).max().alias(LABEL))
        .collect()
    )


@dataclass(frozen=True, eq=False)
class DecisionTable:
    """The rows of one label window, before they are told apart by what there is to order."""

    pairs: pl.DataFrame
    """``query_id`` (ascending), ``item_position``, ``is_new``, ``source_bits`` and ``label``."""
    matrix: Float32[np.ndarray, "rows features"]
    """Features of the pairs as of the window's start."""
    orders: dict[str, Bool[np.ndarray, " rows"]]
    """Which rows a ranker learns from, by what it orders."""
    users: list[str]
    """User by query id."""
    lost: int
    """Positives that no candidate source found."""


def collect_decisions(events: pl.LazyFrame, parts: Parts, as_of_ms: int, to_ms: int) -> dict[str, Decisions]:
    """Build the ranking groups of one label window, by what there is to order; see ``decision_table``.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    table = decision_table(events, parts, as_of_ms, to_ms)
    return {
        name: _decisions(table.matrix[rows], table.pairs.filter(rows), table.users, table.lost)
        for name, rows in table.orders.items()
    }


def decision_table(
    events: pl.LazyFrame, parts: Parts, as_of_ms: int, to_ms: int, *, placement: str = "home"
) -> DecisionTable:
    """Gather candidates, features and labels of one label window.

    Every user who did something between ``as_of_ms`` and ``to_ms`` is one query on the placement, users
    without any history too. ``all`` holds each query's candidates, ``new`` those that are new to the user:
    among all candidates the few first-time purchases weigh next to nothing against the repeated ones. All
    positives among the candidates are kept, and ``num_negatives`` others drawn at random.

    An item that nobody has touched to the end of the data is left out, unless its ``created_time`` says that
    it could be chosen: a product that came later would teach that what has no history is never taken.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    config = parts.config
    labels = label_table(events, config, as_of_ms, to_ms)
    users = labels.select(USER_ID).unique().sort(USER_ID)
    queries = users.with_row_index(QUERY_ID).select(
        pl.col(QUERY_ID).cast(pl.Int64), USER_ID, pl.lit(as_of_ms, pl.Int64).alias(AS_OF)
    )
    if queries.is_empty():
        return _empty_table(config)
    log = OfflineLog.of(events, queries, parts.catalogue, config)
    moments = dict(offline_moments(log, parts, events))
    offered = _offered(moments, config, placement)
    positive = labels.join(queries, on=USER_ID).select(
        QUERY_ID,
        pl.col(ITEM_ID)
        .replace_strict(parts.catalogue.position, default=-1, return_dtype=pl.Int64)
        .alias(POSITION),
        LABEL,
    )
    offered = offered.filter(_existed(events, parts, as_of_ms)[offered[POSITION].to_numpy()])
    pairs = offered.join(positive, on=[QUERY_ID, POSITION], how="left", maintain_order="left").with_columns(
        pl.col(LABEL).fill_null(0)
    )
    random = np.random.default_rng((config.seed, as_of_ms))
    wanted = {"all": np.ones(pairs.height, bool), "new": pairs[_IS_NEW].to_numpy()}
    rows = {name: _thin(pairs, rows, config.ranker.num_negatives, random) for name, rows in wanted.items()}
    keep = np.logical_or.reduce(list(rows.values()))
    return DecisionTable(
        pairs=pairs.filter(keep),
        matrix=as_ranker_input(offline_matrix(log, pairs.select(QUERY_ID, POSITION), moments, keep)),
        orders={name: taken[keep] for name, taken in rows.items()},
        users=queries[USER_ID].to_list(),
        lost=positive.height - int((pairs[LABEL] > 0).sum()),
    )


def _offered(moments: Mapping[int, Moment], config: Config, placement: str) -> pl.DataFrame:
    """Every query's candidates: ``query_id, item_position, is_new, source_bits``."""
    sources, no_context = config.placements[placement].sources, np.empty(0, np.int64)
    frames = []
    with progress("gathering candidates", len(moments)) as advance:
        for query_id, moment in moments.items():
            found = gather(moment, sources, config.candidates, no_context)
            is_new = ~np.isin(found.positions, moment.user.positions)
            columns = {POSITION: found.positions, _IS_NEW: is_new, SOURCE_BITS: found.sources}
            frames.append(pl.DataFrame({QUERY_ID: query_id, **columns}, schema_overrides=_OFFERED))
            advance(1)
    return pl.concat(frames)


def _existed(events: pl.LazyFrame, parts: Parts, as_of_ms: int) -> Bool[np.ndarray, " items"]:
    """Whether an item is known to have existed, then or later in the data."""
    catalogue = parts.catalogue
    touched = events.select(pl.col(ITEM_ID).unique()).collect()[ITEM_ID]
    created = pl.col(CREATED_TIME).dt.epoch("ms") <= as_of_ms
    existed = pl.col(ITEM_ID).is_in(touched.implode()) | created.fill_null(value=False)
    found: Bool[np.ndarray, " items"] = catalogue.frame.select(existed)[ITEM_ID].to_numpy()
    return found


def _decisions(
    matrix: Float32[np.ndarray, "rows features"], pairs: pl.DataFrame, user_ids: list[str], lost: int
) -> Decisions:
    query, size = np.unique(pairs[QUERY_ID].to_numpy(), return_counts=True)
    return Decisions(
        matrix=matrix,
        labels=pairs[LABEL].to_numpy(),
        positions=pairs[POSITION].to_numpy(),
        groups=size,
        users=[user_ids[i] for i in query.tolist()],
        lost=lost,
    )


def _empty_table(config: Config) -> DecisionTable:
    return DecisionTable(
        pairs=pl.DataFrame(schema=_OFFERED | {LABEL: pl.Int64}),
        matrix=np.empty((0, len(names(config.state))), np.float32),
        orders={name: np.empty(0, bool) for name in ("all", "new")},
        users=[],
        lost=0,
    )


def _thin(
    pairs: pl.DataFrame,
    wanted: Bool[np.ndarray, " pairs"],
    num_negatives: int,
    random: np.random.Generator,
) -> Bool[np.ndarray, " pairs"]:
    """Wanted rows of queries with a positive: all positives, and at most ``num_negatives`` others each."""
    query, label = pairs[QUERY_ID].to_numpy(), pairs[LABEL].to_numpy()
    draw = np.where(label > 0, -1.0, random.random(len(label)))
    draw[~wanted] = 2.0
    order = np.lexsort((draw, query))
    starts = np.searchsorted(query[order], query[order])
    rank = np.arange(len(order)) - starts
    num_positive = np.bincount(query, wanted & (label > 0)).astype(np.int64)[query[order]]
    keep = np.zeros(len(label), bool)
    keep[order] = (num_positive > 0) & (rank < num_positive + num_negatives)
    keep &= wanted
    return keep
