"""The decisions of a label window: who took something in it, what was on offer before it, what was taken."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from features.histories import histories
from features.log import OfflineLog
from features.registry import (
    as_ranker_input,
    log_matrix,
    moment_matrix,
    names,
    num_moment_features,
    require_parts_fitted_before,
)
from recsys.config import Config
from recsys.moment import Moment, Parts
from recsys.progress import progress
from recsys.schema import AS_OF, QUERY_ID, USER_ID
from training.decisions import Decisions, as_decisions
from training.labels import LABEL, grades_by_query, label_table
from training.offers import ORDERS, ROWS, Offers


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
    offers: Offers,
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


def empty_table(config: Config) -> DecisionTable:
    """A table without queries."""
    return DecisionTable(
        pairs=pl.DataFrame(schema=ROWS).drop(ORDERS),
        matrix=np.empty((0, len(names(config.state))), np.float32),
        orders={name: np.empty(0, bool) for name in ORDERS},
        users=[],
        lost=0,
    )


class _Block(NamedTuple):
    """Rows of a decision table, with the columns of the orders, and their features."""

    rows: pl.DataFrame
    matrix: Float32[np.ndarray, "rows features"]


def _block(
    log: OfflineLog,
    moments: Iterable[tuple[int, Moment]],
    offers: Offers,
    grades_of: Mapping[int, Mapping[int, int]],
    advance: Callable[[int], None],
) -> _Block:
    """Rows and features of some queries, by query."""
    described = offers.described(moments, grades_of, moment_matrix, advance)
    rows = pl.concat([pl.DataFrame(schema=ROWS), *(frame for frame, _ in described)])
    nothing = np.empty((0, num_moment_features(log.config.state)), np.float32)
    from_moments = np.concatenate([nothing, *(block for _, block in described)])
    del described
    from_log = as_ranker_input(log_matrix(log, rows.drop(ORDERS)))
    return _Block(rows, np.column_stack((from_log, from_moments)))


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
