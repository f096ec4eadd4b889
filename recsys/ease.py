"""EASE: the linear item-to-item model that predicts a user's items from all the others."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.engagement_matrix import engagement_matrix
from recsys.neighbours import Neighbours, NeighbourTable

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
    half_life = config.half_lives_days[config.middle]
    matrix, items = engagement_matrix(events, catalogue, config, until_ms, half_life)
    roots = matrix.sqrt().astype(np.float32)
    total = np.asarray(roots.sum(axis=0)).ravel()
    most = np.sort(np.argsort(-total, kind="stable")[:max_items])
    return roots[:, most], items[most]
