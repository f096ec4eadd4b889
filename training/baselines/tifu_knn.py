"""TIFU-KNN: what a user buys again and again, mixed with what similar users buy again and again."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Int64
from scipy import sparse

from training.baselines.baseline import ScoredLists, Scores, beyond_core
from training.baselines.interactions import Interactions, dense

MAX_NEIGHBOURS = 300
"""Most neighbours that any setting takes."""
_BLOCK = 512
_TINY = 1e-12


@dataclass(frozen=True)
class TifuKnn:
    """``alpha u + (1 - alpha) mean of the neighbours' u``, where u is the user's decayed frequencies.

    The neighbours are the ``num_neighbours`` users at the smallest Euclidean distance between unit vectors of
    ``log(1 + u)``, over the core items.

    Source: Hu, He, Gao & Zhang, "Modeling personalized item frequency information for next-basket
        recommendation", SIGIR 2020, for the blend. Deviations: weights decay with time, where the paper
        decays by the place of the basket and then of the group of baskets; and neighbours are sought among
        directions, because by the plain distance those with the fewest purchases are near to everybody.
    """

    decay_per_week: float = 0.95
    """Factor in (0, 1] per week of age."""
    num_neighbours: int = 100
    """Neighbours, 1 to ``MAX_NEIGHBOURS``."""
    alpha: float = 0.7
    """The user's own share, in [0, 1]."""

    def fit(self, log: Interactions) -> ScoredLists:
        """Find every user's neighbours."""
        nearest = log.made(
            ("nearest users", self.decay_per_week), partial(_nearest, log, self.decay_per_week)
        )
        chosen = nearest[:, : self.num_neighbours]
        share = np.full(chosen.size, 1 / max(chosen.shape[1], 1), dtype=np.float32)
        cells = (np.repeat(np.arange(len(chosen)), chosen.shape[1]), chosen.ravel())
        mean = sparse.csr_array((share, cells), shape=(len(chosen), len(chosen)))
        return ScoredLists(log, partial(self._scores, log, mean))

    def _scores(self, log: Interactions, mean: sparse.csr_array, rows: Int64[np.ndarray, " users"]) -> Scores:
        own = log.core_frequency(self.decay_per_week)
        core = self.alpha * dense(own[rows]) + (1 - self.alpha) * dense(mean[rows] @ own)
        beyond = beyond_core(log, log.frequency(self.decay_per_week)[rows])
        return Scores(core.astype(np.float32, copy=False), beyond * np.float32(self.alpha))


def _nearest(log: Interactions, decay_per_week: float) -> Int64[np.ndarray, "users neighbours"]:
    """Every user's nearest others, nearest first, ties by number."""
    logs = log.core_frequency(decay_per_week).log1p()
    lengths = np.sqrt(np.asarray(logs.multiply(logs).sum(axis=1)).ravel())
    users = (sparse.diags_array(1 / np.maximum(lengths, _TINY)) @ logs).tocsr().astype(np.float32)
    number = min(MAX_NEIGHBOURS, max(len(lengths) - 1, 0))
    transposed, found = users.T.tocsr(), [np.empty((0, number), dtype=np.int64)]
    for start in range(0, len(lengths), _BLOCK):
        inner = dense(users[start : start + _BLOCK] @ transposed)
        distances = -inner
        distances[np.arange(len(inner)), start + np.arange(len(inner))] = np.inf
        found.append(np.argsort(distances, axis=1, kind="stable")[:, :number])
    return np.concatenate(found)
