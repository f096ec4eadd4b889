"""Past decisions: what could have been recommended at a moment, and what the user then did."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64, UInt32

from features.histories import histories
from features.log import POSITION, OfflineLog
from features.registry import (
    as_ranker_input,
    log_matrix,
    moment_matrix,
    names,
    num_moment_features,
    require_parts_fitted_before,
)
from recsys.candidates import gather
from recsys.config import Config
from recsys.moment import Moment, Parts
from recsys.progress import progress
from recsys.schema import AS_OF, CREATED_TIME, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, QUERY_ID, USER_ID
from training.threads import in_threads

LABEL = "label"
SOURCE_BITS = "source_bits"
ORDERS = ("all", "new")
"""What there is to order: every candidate, or those that are new to the user."""
ROWS = {
    QUERY_ID: pl.Int64(),
    POSITION: pl.Int64(),
    SOURCE_BITS: pl.UInt32(),
    LABEL: pl.Int64(),
    **dict.fromkeys(ORDERS, pl.Boolean()),
}
_NO_CONTEXT = np.empty(0, np.int64)


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
            np.concatenate(places) if len(places) == 2 else None,
        )


def part_of(whole: Decisions, first: int, step: int) -> Decisions:
    """Every ``step``-th query from ``first`` on, with all of its rows."""
    chosen = np.arange(len(whole.groups)) % step == first
    rows = np.repeat(chosen, whole.groups)
    return Decisions(
        whole.matrix[rows],
        whole.labels[rows],
        whole.positions[rows],
        whole.groups[chosen],
        [user for user, is_chosen in zip(whole.users, chosen, strict=False) if is_chosen],
        None if whole.places is None else whole.places[rows],
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
    """``query_id`` (ascending), ``item_position``, ``source_bits`` and ``label``."""
    matrix: Float32[np.ndarray, "rows features"]
    """Features of the pairs as of the window's start."""
    orders: dict[str, Bool[np.ndarray, " rows"]]
    """Which rows a ranker learns from, by what it orders."""
    users: list[str]
    """User by query id."""
    lost: int
    """Positives that no candidate source found: lost recall, never put in."""


def collect_decisions(
    events: pl.LazyFrame,
    parts: Parts,
    as_of_ms: int,
    to_ms: int,
    *,
    shards: Sequence[pl.LazyFrame] = (),
) -> dict[str, Decisions]:
    """Build the ranking groups of one label window, by what there is to order; see ``decision_table``.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    table = decision_table(events, parts, as_of_ms, to_ms, shards=shards)
    return {
        name: as_decisions(table.matrix[rows], table.pairs.filter(rows), table.users)
        for name, rows in table.orders.items()
    }


def decision_table(
    events: pl.LazyFrame,
    parts: Parts,
    as_of_ms: int,
    to_ms: int,
    *,
    placement: str = "home",
    shards: Sequence[pl.LazyFrame] = (),
) -> DecisionTable:
    """Gather candidates, features and labels of one label window.

    Every user who did something between ``as_of_ms`` and ``to_ms`` is one query on the placement, users
    without any history too. ``all`` holds each query's candidates, ``new`` those that are new to the user:
    among all candidates the few first-time purchases weigh next to nothing against the repeated ones. All
    positives among the candidates are kept, and ``num_negatives`` others drawn at random.

    An item that nobody has touched to the end of the data is left out, unless its ``created_time`` says that
    it could be chosen: a product that came later would teach that what has no history is never taken.

    Args:
        events: Event log with ``effective_time``, until the end of the data.
        parts: The fitted parts that features are read with.
        as_of_ms: Start of the window and moment of the features, milliseconds since the epoch.
        to_ms: End of the window, exclusive.
        placement: A placement that starts from a user.
        shards: See ``describe_labels``.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    labels = label_table(events, parts.config, as_of_ms, to_ms)
    offers = Offers(events, parts, as_of_ms, placement)
    return describe_labels(events, labels, parts, as_of_ms, offers, shards=shards)


def describe_labels(
    events: pl.LazyFrame,
    labels: pl.DataFrame,
    parts: Parts,
    as_of_ms: int,
    offers: "Offers",
    *,
    shards: Sequence[pl.LazyFrame] = (),
) -> DecisionTable:
    """The decision table of some labels, of which every user is one query.

    Args:
        events: Event log with ``effective_time``; those before the moment are the users' histories.
        labels: ``user_id, item_id, label``.
        parts: The fitted parts that features are read with.
        as_of_ms: The moment, milliseconds since the epoch.
        offers: Asks the sources.
        shards: The events once more, cut by user as ``recsys.user_shard`` does: then one shard's histories
            are in memory at a time. The table is the same.

    Raises:
        LeakageError: A fitted part saw events at or after ``as_of_ms``.
    """
    require_parts_fitted_before(parts, as_of_ms)
    queries = (
        labels.select(USER_ID)
        .unique()
        .sort(USER_ID)
        .with_row_index(QUERY_ID)
        .select(pl.col(QUERY_ID).cast(pl.Int64), USER_ID, pl.lit(as_of_ms, pl.Int64).alias(AS_OF))
    )
    if queries.is_empty():
        return empty_table(parts.config)
    grades_of = grades_by_query(labels.join(queries, on=USER_ID), parts)
    with progress("gathering candidates", queries.height) as advance:
        blocks = [
            _block(log, moments, offers, grades_of, advance)
            for log, moments in histories(events, queries, parts, shards)
        ]
    rows, matrix = _in_order_of_queries(blocks)
    return DecisionTable(
        pairs=rows.drop(ORDERS),
        matrix=matrix,
        orders={name: rows[name].to_numpy() for name in ORDERS},
        users=queries[USER_ID].to_list(),
        lost=labels.height - rows.filter(pl.col(LABEL) > 0).height,
    )


def _block(
    log: OfflineLog,
    moments: Iterable[tuple[int, Moment]],
    offers: "Offers",
    grades_of: Mapping[int, Mapping[int, int]],
    advance: Callable[[int], None],
) -> "_Block":
    """Rows and features of some queries, by query."""
    described = offers.described(moments, grades_of, moment_matrix, advance)
    rows = pl.concat([pl.DataFrame(schema=ROWS), *(frame for frame, _ in described)])
    nothing = np.empty((0, num_moment_features(log.config.state)), np.float32)
    from_moments = np.concatenate([nothing, *(block for _, block in described)])
    del described
    from_log = as_ranker_input(log_matrix(log, rows.drop(ORDERS)))
    return _Block(rows, np.column_stack((from_log, from_moments)))


class _Block(NamedTuple):
    """Rows of a decision table, with the columns of the orders, and their features."""

    rows: pl.DataFrame
    matrix: Float32[np.ndarray, "rows features"]


def _in_order_of_queries(blocks: list[_Block]) -> _Block:
    """All of them as one, without having two of everything; ``blocks`` is empty afterwards."""
    if len(blocks) == 1:
        return blocks.pop()
    rows = pl.concat([block.rows for block in blocks])
    order = np.argsort(rows[QUERY_ID].to_numpy(), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    matrix = np.empty((rows.height, blocks[0].matrix.shape[1]), np.float32)
    end = rows.height
    while blocks:
        block = blocks.pop().matrix
        matrix[place[end - len(block) : end]] = block
        end -= len(block)
    return _Block(rows[order], matrix)


@dataclass(frozen=True, eq=False)
class Offered:
    """What the sources offer at one moment, and what came of it."""

    positions: Int64[np.ndarray, " candidates"]
    """Catalogue positions."""
    sources: UInt32[np.ndarray, " candidates"]
    """Bit sets, see ``recsys.candidates.Candidates``."""
    labels: Int64[np.ndarray, " candidates"]
    orders: dict[str, Bool[np.ndarray, " candidates"]]
    """Which candidates are learned from, by what there is to order."""

    @property
    def keep(self) -> Bool[np.ndarray, " candidates"]:
        """Which candidates are learned from at all."""
        kept: Bool[np.ndarray, " candidates"] = np.logical_or.reduce(list(self.orders.values()))
        return kept

    def frame(self, query_id: int) -> pl.DataFrame:
        """The kept candidates as rows of a decision table, with the columns of the orders."""
        columns = {
            QUERY_ID: np.full_like(self.positions, query_id),
            POSITION: self.positions,
            SOURCE_BITS: self.sources,
            LABEL: self.labels,
            **self.orders,
        }
        return pl.DataFrame({name: column[self.keep] for name, column in columns.items()}, ROWS)


class Offers:
    """Asks the sources at past moments, and thins out what nobody took."""

    def __init__(self, events: pl.LazyFrame, parts: Parts, as_of_ms: int, placement: str = "home") -> None:
        """Find out what existed.

        Args:
            events: Event log with ``effective_time``, until the end of the data.
            parts: Parts that were fitted before the moments.
            as_of_ms: Milliseconds since the epoch; seeds the draws, and items created later are left out.
            placement: A placement that starts from a user.
        """
        self._sources = parts.config.placements[placement].sources
        self._config = parts.config
        self._existed = _existed(events, parts, as_of_ms)
        self._seed = parts.config.seed, as_of_ms

    def described(
        self,
        queries: Iterable[tuple[int, Moment]],
        grades_of: Mapping[int, Mapping[int, int]],
        features: Callable[[Moment, Int64[np.ndarray, " items"]], Float64[np.ndarray, "items features"]],
        advance: Callable[[int], None],
    ) -> list[tuple[pl.DataFrame, Float32[np.ndarray, "rows features"]]]:
        """Rows and features of what is learned from, by query; the features see all candidates of theirs.

        Args:
            queries: Query ids and their moments.
            grades_of: Labels by catalogue position, by query id.
            features: Of a moment's candidates, ``moment_matrix`` or ``online_matrix``.
            advance: Called with the number of queries just finished.
        """

        def describe(
            query: tuple[int, Moment],
        ) -> tuple[pl.DataFrame, Float32[np.ndarray, "rows features"]] | None:
            query_id, moment = query
            offered = self.of(moment, query_id, grades_of.get(query_id, {}))
            if not offered.keep.any():
                return None
            matrix = features(moment, offered.positions)[offered.keep]
            return offered.frame(query_id), as_ranker_input(matrix)

        found = []
        for described in in_threads(describe, queries):
            if described:
                found.append(described)
            advance(1)
        return found

    def of(self, moment: Moment, query_id: int, grades: Mapping[int, int]) -> Offered:
        """Candidates of a query's moment; ``grades`` are labels by catalogue position."""
        random = np.random.default_rng((*self._seed, query_id))
        found = gather(moment, self._sources, self._config.candidates, _NO_CONTEXT)
        existed = self._existed[found.positions]
        positions = found.positions[existed]
        labels = np.asarray([grades.get(p, 0) for p in positions.tolist()], np.int64)
        may_order = {"all": np.ones(len(labels), bool), "new": ~np.isin(positions, moment.user.positions)}
        orders = {
            name: _thin(labels, rows, self._config.ranker.num_negatives, random)
            for name, rows in may_order.items()
        }
        return Offered(positions, found.sources[existed], labels, orders)


def grades_by_query(labels: pl.DataFrame, parts: Parts) -> dict[int, dict[int, int]]:
    """Grade by catalogue position, by query; items that are no longer in the catalogue at -1."""
    position = pl.col(ITEM_ID).replace_strict(parts.catalogue.position, default=-1, return_dtype=pl.Int64)
    grades_of: dict[int, dict[int, int]] = defaultdict(dict)
    for query_id, at, grade in labels.select(QUERY_ID, position, LABEL).iter_rows():
        grades_of[query_id][at] = grade
    return grades_of


def _existed(events: pl.LazyFrame, parts: Parts, as_of_ms: int) -> Bool[np.ndarray, " items"]:
    """Whether an item is known to have existed, then or later in the data."""
    catalogue = parts.catalogue
    touched = events.select(pl.col(ITEM_ID).unique()).collect()[ITEM_ID]
    created = pl.col(CREATED_TIME).dt.epoch("ms") <= as_of_ms
    existed = pl.col(ITEM_ID).is_in(touched.implode()) | created.fill_null(value=False)
    found: Bool[np.ndarray, " items"] = catalogue.frame.select(existed)[ITEM_ID].to_numpy()
    return found


def as_decisions(
    matrix: Float32[np.ndarray, "rows features"], pairs: pl.DataFrame, user_ids: list[str]
) -> Decisions:
    """Ranking groups of a table's rows; ``user_ids`` by query id."""
    query, size = np.unique(pairs[QUERY_ID].to_numpy(), return_counts=True)
    return Decisions(
        matrix=matrix,
        labels=pairs[LABEL].to_numpy(),
        positions=pairs[POSITION].to_numpy(),
        groups=size,
        users=[user_ids[i] for i in query.tolist()],
    )


def empty_table(config: Config) -> DecisionTable:
    """A table without queries."""
    return DecisionTable(
        pairs=pl.DataFrame(schema=ROWS).drop(ORDERS),
        matrix=np.empty((0, len(names(config.state))), np.float32),
        orders={name: np.empty(0, bool) for name in ORDERS},
        users=[],
        lost=0,
    )


def _thin(
    label: Int64[np.ndarray, " rows"],
    wanted: Bool[np.ndarray, " rows"],
    num_negatives: int,
    random: np.random.Generator,
) -> Bool[np.ndarray, " rows"]:
    """The positives of a query's wanted rows and at most ``num_negatives`` others; none without one."""
    keep = wanted & (label > 0)
    if keep.any():
        keep[random.permutation(np.flatnonzero(wanted & (label == 0)))[:num_negatives]] = True
    return keep
