"""Items that go together: cosine of the baskets they are bought in."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int32, Int64
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, USER_ID

_SHRINKAGE = 10.0
_MIN_BASKETS = 3
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class CoOccurrence:
    """The strongest neighbours of every item."""

    neighbours: Int32[np.ndarray, "items neighbours"]
    """Catalogue positions, strongest first, ties by position; -1 where there are fewer."""
    weights: Float32[np.ndarray, "items neighbours"]
    """Strength in [0, 1]; 0 where there is no neighbour."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""

    def scores(
        self, positions: Int64[np.ndarray, " items"], weights: Float64[np.ndarray, " items"]
    ) -> tuple[Int64[np.ndarray, " found"], Float64[np.ndarray, " found"]]:
        """Items that go with some items: positions ascending, and the weighted sums of their strengths."""
        found = self.neighbours[positions].ravel().astype(np.int64)
        strengths = (self.weights[positions] * weights[:, None]).ravel().astype(np.float64)
        targets, inverse = np.unique(found[found >= 0], return_inverse=True)
        totals = np.bincount(inverse, strengths[found >= 0], minlength=len(targets))
        return targets, totals.astype(np.float64)  # NumPy counts nothing in integers


def fit_co_occurrence(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, num_neighbours: int
) -> CoOccurrence:
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
    positive = [name for name, weight in config.event_weights.items() if weight > 0]
    rows = (
        events.filter(pl.col(EVENT_TYPE).is_in(positive), pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms)
        .select(
            basket=pl.struct(USER_ID, EFFECTIVE_TIME).rank("dense") - 1,
            item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
        )
        .filter(pl.col("item") >= 0)
        .unique()
        .filter(pl.len().over("item") >= _MIN_BASKETS)
        .collect()
    )
    num_items = len(catalogue)
    neighbours = np.full((num_items, num_neighbours), -1, np.int32)
    weights = np.zeros((num_items, num_neighbours), np.float32)
    items, column = np.unique(rows["item"].to_numpy(), return_inverse=True)
    basket = rows["basket"].to_numpy().astype(np.int64)
    shape = (int(basket.max(initial=-1)) + 1, len(items))
    matrix = sparse.csr_array((np.ones(len(basket), np.float32), (basket, column)), shape=shape)
    root = np.sqrt(np.bincount(column, minlength=len(items)))
    transposed = matrix.T.tocsr()
    for start in range(0, len(items), _BLOCK):
        block = (transposed[start : start + _BLOCK] @ matrix).tocsr()
        block.sort_indices()
        for i in range(block.shape[0]):
            row = slice(block.indptr[i], block.indptr[i + 1])
            other = block.indices[row]
            strength = block.data[row] / (root[start + i] * root[other] + _SHRINKAGE)
            strength[other == start + i] = 0.0
            top = np.argsort(-strength, kind="stable")[:num_neighbours]
            top = top[strength[top] > 0]
            neighbours[items[start + i], : len(top)] = items[other[top]]
            weights[items[start + i], : len(top)] = strength[top]
    return CoOccurrence(neighbours, weights, until_ms)
