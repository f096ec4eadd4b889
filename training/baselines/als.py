"""Matrix factorisation for implicit feedback, by the library ``implicit``."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from jaxtyping import Float32, Int64
from scipy import sparse
from threadpoolctl import threadpool_limits

from training.baselines.baseline import ScoredLists, Scores
from training.baselines.interactions import Interactions

_ITERATIONS = 12


@dataclass(frozen=True)
class Als:
    """Factors of users and core items, where a pair the user had weighs ``1 + confidence * frequency``.

    Source: Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, with
    the
        conjugate gradient of ``implicit``. Deviation: the counts decay by 0.95 per week.
    """

    num_factors: int = 64
    """Dimension of the factors, >= 1."""
    confidence: float = 1.0
    """What a decayed frequency of 1 adds to the weight of a pair, >= 0; others weigh 1."""
    regularization: float = 10.0
    """Strength of the regularisation, >= 0."""
    decay_per_week: float = 0.95
    """Factor in (0, 1] per week of age."""
    seed: int = 0

    def fit(self, log: Interactions) -> ScoredLists:
        """Find the factors."""
        model = log.made(("als", self), partial(self._factors, log))
        return ScoredLists(log, partial(_scores, model.user_factors, model.item_factors))

    def _factors(self, log: Interactions) -> AlternatingLeastSquares:
        confidence = log.core_frequency(self.decay_per_week).copy()
        confidence.data = 1 + self.confidence * confidence.data
        with threadpool_limits(1, "blas"):  # the library has threads of its own
            model = AlternatingLeastSquares(
                factors=self.num_factors,
                regularization=self.regularization,
                alpha=1.0,
                iterations=_ITERATIONS,
                random_state=self.seed,
            )
            model.fit(sparse.csr_matrix(confidence), show_progress=False)
        return model


def _scores(
    users: Float32[np.ndarray, "users factors"],
    items: Float32[np.ndarray, "core factors"],
    rows: Int64[np.ndarray, " chosen"],
) -> Scores:
    return Scores(users[rows] @ items.T)
