"""EASE: the linear item-to-item model that predicts a user's items from all the others."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int64
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.neighbours import Neighbours, NeighbourTable
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, USER_ID

_BLOCK = 1024


@dataclass(frozen=True)
class EaseSettings:
    """What EASE is fitted with."""

    num_neighbours: int
    """Largest weights kept per item."""
    max_items: int
    """Items that take part: the most engaging ones."""
    regularisation: float
    """L2 penalty, in users."""


def fit_ease(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, settings: EaseSettings
) -> Neighbours:
    """Fit ``B = argmin |X - XB|^2 + lambda |B|^2`` with a zero diagonal, before ``until_ms``.

    X holds the root of each user's decayed engagement with each item, over the middle half-life. With
    ``P = (X'X + lambda I)^-1``, ``B_ij = -P_ij / P_jj``. Of each column the largest positive weights are
    kept. With fewer users than items, P comes from the users' side (Woodbury's identity).

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        config: Weights and half-lives.
        until_ms: End of the data, milliseconds since the epoch.
        settings: Size and penalty.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equation 8.
        Deviation: decayed weights instead of ones; columns are cut to their largest weights.
    """
    matrix, items = _engagement(events, catalogue, config, until_ms, settings.max_items)
    table = NeighbourTable(len(catalogue), settings.num_neighbours)
    inverse = _Inverse(matrix, settings.regularisation)
    diagonal = inverse.diagonal()
    for start in range(0, len(items), _BLOCK):
        columns = np.arange(start, min(start + _BLOCK, len(items)))
        weights = -inverse.rows(columns) / diagonal[columns, None]  # P is symmetric
        weights[np.arange(len(columns)), columns] = 0.0
        for column, weight in zip(columns.tolist(), weights, strict=True):
            table.put(int(items[column]), items, weight)
    return table.finish(until_ms)


class _Inverse:
    """Rows of ``(X'X + lambda I)^-1``, through whichever of items and users are fewer."""

    def __init__(self, matrix: sparse.csr_array, penalty: float) -> None:
        self._penalty = penalty
        users, items = matrix.shape
        self._by_user = users < items
        gram = (matrix @ matrix.T if self._by_user else matrix.T @ matrix).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += penalty
        inverse = np.linalg.inv(gram).astype(np.float32)
        self._items = matrix.T.tocsr()
        self._inner: Float32[np.ndarray, "inner items"] = (
            np.ascontiguousarray((self._items @ inverse).T) if self._by_user else inverse
        )

    def diagonal(self) -> Float32[np.ndarray, " items"]:
        """The inverse's diagonal."""
        if not self._by_user:
            found: Float32[np.ndarray, " items"] = np.diagonal(self._inner).copy()
            return found
        quadratic = np.asarray(self._items.multiply(self._inner.T).sum(axis=1)).ravel()
        return ((1 - quadratic) / self._penalty).astype(np.float32)

    def rows(self, rows: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows items"]:
        """Some of its rows."""
        if not self._by_user:
            found: Float32[np.ndarray, "rows items"] = self._inner[rows]
            return found
        block: Float32[np.ndarray, "rows items"] = -(self._items[rows] @ self._inner) / self._penalty
        block[np.arange(len(rows)), rows] += 1 / self._penalty
        return block


def _engagement(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, max_items: int
) -> tuple[sparse.csr_array, Int64[np.ndarray, " items"]]:
    """Users by items, and the catalogue position per column, ascending."""
    weights = {name: weight for name, weight in config.event_weights.items() if weight > 0}
    age = (until_ms - pl.col(EFFECTIVE_TIME).dt.epoch("ms")) / DAY_MS
    sums = (
        events.filter(
            pl.col(EVENT_TYPE).is_in(list(weights)), pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms
        )
        .select(
            user=pl.col(USER_ID).rank("dense").cast(pl.Int64) - 1,
            item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
            value=pl.col(EVENT_TYPE).replace_strict(weights, return_dtype=pl.Float64)
            * pl.lit(2.0).pow(-age / config.half_lives_days[config.middle]),
        )
        .filter(pl.col("item") >= 0)
        .group_by("user", "item")
        .agg(pl.col("value").sum())
        .sort("user", "item")
        .collect()
    )
    total: Float64[np.ndarray, " items"] = np.bincount(
        sums["item"].to_numpy(), np.sqrt(sums["value"].to_numpy()), minlength=len(catalogue)
    )
    items = np.sort(np.argsort(-total, kind="stable")[:max_items])
    items = items[total[items] > 0]
    column = np.full(len(catalogue), -1)
    column[items] = np.arange(len(items))
    at = column[sums["item"].to_numpy()]
    shape = (int(sums["user"].to_numpy().max(initial=-1)) + 1, len(items))
    data = np.sqrt(sums["value"].to_numpy()).astype(np.float32)[at >= 0]
    return sparse.csr_array((data, (sums["user"].to_numpy()[at >= 0], at[at >= 0])), shape=shape), items
