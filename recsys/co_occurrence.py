"""Items that go together: cosine of the baskets they are bought in, and of baskets that follow each other."""

import numpy as np
import polars as pl

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.neighbours import Neighbours, NeighbourTable, basket_matrix, cosine_neighbours
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, USER_ID

STEP_DECAY = 0.7
"""A step further back in the history counts this much less."""
_STEPS = 3
_SHRINKAGE = 10.0
_FOLLOWING_SHRINKAGE = 1.0
_MIN_BASKETS = 3


def fit_co_occurrence(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, num_neighbours: int
) -> Neighbours:
    """Count pairs within baskets (same user, same time) strictly before ``until_ms``.

    The strength of i and j is ``n_ij / (sqrt(n_i n_j) + 10)``: the cosine, shrunk so that a pair seen once is
    no certainty.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        config: Which event types count: those with a positive weight.
        until_ms: End of the data, milliseconds since the epoch.
        num_neighbours: Neighbours to keep per item.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001, cosine
        similarity.
        Deviation: over baskets instead of users, with a shrinkage constant in the denominator.
    """
    rows = _baskets(events, catalogue, config, until_ms).filter(pl.len().over("item") >= _MIN_BASKETS)
    items, column = np.unique(rows["item"].to_numpy(), return_inverse=True)
    matrix = basket_matrix(rows["basket"].to_numpy(), column, len(items))
    table = NeighbourTable(len(catalogue), num_neighbours)
    cosine_neighbours(matrix, matrix, items, _SHRINKAGE, table)
    return table.finish(until_ms)


def fit_following(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, num_neighbours: int
) -> Neighbours:
    """Count what the same user takes one to three steps later, strictly before ``until_ms``.

    A user's steps are the distinct times of their events. With i at step s and j at step s + d, the pair
    counts ``0.7^(d-1)`` over the root of the later basket's size; the strength of i and j is
    ``n_ij / (sqrt(n_i n_j) + 1)``.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        config: Which event types count: those with a positive weight.
        until_ms: End of the data, milliseconds since the epoch.
        num_neighbours: Neighbours to keep per item.

    Source: Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018,
        sequential rules with a decay per step.
        Deviation: cosine normalisation, and whole baskets as steps.
    """
    rows = _baskets(events, catalogue, config, until_ms)
    items, column = np.unique(rows["item"].to_numpy(), return_inverse=True)
    before = basket_matrix(rows["basket"].to_numpy(), column, len(items))
    user_of_basket = rows.select("basket", "user").unique("basket").sort("basket")["user"].to_numpy()
    size = np.asarray(before.sum(axis=1)).ravel()
    scaled = before.multiply(1 / np.sqrt(np.maximum(size, 1))[:, None]).tocsr()
    after = before * 0
    for distance in range(1, _STEPS + 1):
        later = np.arange(distance, len(user_of_basket))
        later = later[user_of_basket[later] == user_of_basket[later - distance]]
        shifted = scaled[later] * STEP_DECAY ** (distance - 1)
        pad = np.zeros(before.shape[0] + 1, np.int64)
        np.add.at(pad, later - distance + 1, np.diff(shifted.indptr))
        placed = type(before)((shifted.data, shifted.indices, np.cumsum(pad)), shape=before.shape)
        after = (after + placed).tocsr()
    table = NeighbourTable(len(catalogue), num_neighbours)
    cosine_neighbours(before, after, items, _FOLLOWING_SHRINKAGE, table)
    return table.finish(until_ms)


def _baskets(events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int) -> pl.DataFrame:
    """Distinct ``user, basket, item`` codes of positive events; baskets count up by user and time."""
    positive = [name for name, weight in config.event_weights.items() if weight > 0]
    return (
        events.filter(pl.col(EVENT_TYPE).is_in(positive), pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms)
        .select(
            user=pl.col(USER_ID).rank("dense").cast(pl.Int64) - 1,
            time=pl.col(EFFECTIVE_TIME).dt.epoch("ms"),
            item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
        )
        .filter(pl.col("item") >= 0)
        .with_columns(basket=pl.struct("user", "time").rank("dense").cast(pl.Int64) - 1)
        .select("user", "basket", "item")
        .unique()
        .collect()
    )
