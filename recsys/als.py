"""Matrix factorisation of implicit feedback: a few dimensions in which people and items meet."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.engagement_matrix import engagement_matrix
from recsys.item_scores import ItemScores

_ITERATIONS = 12
_FEWEST_USERS = 3


class AlsSettings(NamedTuple):
    """What the factorisation is fitted with."""

    dimension: int
    """Number of factors."""
    regularisation: float
    """L2 penalty on a user's and on an item's factors."""
    seed: int


@dataclass(frozen=True, eq=False)
class ItemFactors:
    """Item factors, and what it takes to find a user's own.

    A pair that the user had has the confidence ``1 + w``, w its decayed engagement; every other pair has 1.
    """

    items: Int64[np.ndarray, " known"]
    """Catalogue positions of the items that enough people had, ascending."""
    vectors: Float32[np.ndarray, "known factors"]
    inner: Float64[np.ndarray, "factors factors"]
    """``Y'Y + lambda I`` over the item factors Y."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""

    def user_vector(
        self, positions: Int64[np.ndarray, " history"], engagement: Float64[np.ndarray, " history"]
    ) -> Float64[np.ndarray, " factors"]:
        """The factors of a user: ``(Y'CY + lambda I)^-1 Y'Cp``, C the confidences and p 1 for what is had.

        Args:
            positions: Catalogue positions of the history; items without factors or engagement say nothing.
            engagement: Decayed engagement with each, >= 0.

        Source: Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008,
            equation 4.
        """
        row = np.minimum(np.searchsorted(self.items, positions), max(len(self.items) - 1, 0))
        known = self.items[row] == positions if len(self.items) else np.zeros(len(positions), bool)
        known &= engagement > 0
        had, weight = self.vectors[row[known]].astype(np.float64), engagement[known]
        found: Float64[np.ndarray, " factors"] = np.linalg.solve(
            self.inner + (had * weight[:, None]).T @ had, had.T @ (1 + weight)
        )
        return found

    def scores(self, user_vector: Float64[np.ndarray, " factors"], num_items: int) -> ItemScores:
        """Inner products of a user's factors with those of the items that have any.

        Args:
            user_vector: From ``user_vector``.
            num_items: Size of the catalogue.
        """
        values = (self.vectors @ user_vector.astype(np.float32)).astype(np.float64)
        return ItemScores(self.items, values, num_items)

    def without(self, items: Bool[np.ndarray, " all_items"]) -> "ItemFactors":
        """The factors without those of some items, true per catalogue position; the others keep theirs."""
        keep = ~items[self.items]
        gone = self.vectors[~keep].astype(np.float64)
        inner = self.inner - gone.T @ gone
        return replace(self, items=self.items[keep], vectors=self.vectors[keep], inner=inner)


def fit_als(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, settings: AlsSettings
) -> ItemFactors:
    """Fit item factors on the engagement before ``until_ms``, over the longest half-life.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        config: Weights and half-lives.
        until_ms: End of the data, milliseconds since the epoch.
        settings: Size, penalty and seed.

    Source: Hu, Koren & Volinsky, ICDM 2008, solved by the conjugate gradients of the library ``implicit``.
        Deviation: decayed weights instead of counts; items of fewer than 3 people have no factors.
    """
    matrix, items = engagement_matrix(events, catalogue, config, until_ms, config.half_lives_days[-1])
    enough = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]) >= _FEWEST_USERS)
    vectors = _item_factors(matrix[:, enough], settings)
    inner = vectors.T.astype(np.float64) @ vectors + settings.regularisation * np.eye(settings.dimension)
    return ItemFactors(items[enough], vectors, inner, until_ms)


def _item_factors(matrix: sparse.csr_array, settings: AlsSettings) -> Float32[np.ndarray, "known factors"]:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    if not matrix.nnz:
        return np.zeros((matrix.shape[1], settings.dimension), np.float32)
    confidence = sparse.csr_matrix(matrix, dtype=np.float32)
    confidence.data += 1
    with threadpool_limits(1, "blas"):  # the library has threads of its own
        model = AlternatingLeastSquares(
            factors=settings.dimension,
            regularization=settings.regularisation,
            alpha=1.0,
            iterations=_ITERATIONS,
            random_state=settings.seed,
        )
        model.fit(confidence, show_progress=False)
    found: Float32[np.ndarray, "known factors"] = model.item_factors
    return found
