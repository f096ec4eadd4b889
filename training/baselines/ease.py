"""EASE: a linear autoencoder in closed form, and its blends with recent and with personal popularity."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from training.baselines.baseline import ScoredLists, Scores, beyond_core
from training.baselines.interactions import Interactions, dense

_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Ease:
    """EASE over the core items: ``relu(X B) * popularity^power``, scaled to a largest score of 1 per user.

    ``own_weight`` times the user's decayed frequencies are added to it: EASE knows which items go together,
    and knows neither what sells now nor what a user buys again and again.

    Source: see ``fit_ease``; the two blends are ours.
    """

    decay_per_week: float | None = None
    """``X`` is the square root of the decayed frequencies with this factor in (0, 1] per week of age; without
    one, 1 wherever the user had the item."""
    ridge: float = 300.0
    """Strength of the regularisation, > 0."""
    popularity_power: float = 0.0
    """0 leaves popularity out."""
    popularity_days: int = 28
    """Popularity window in days."""
    own_weight: float = 0.0
    """0 leaves the user's own frequencies out."""
    own_decay_per_week: float = 0.95
    """Decay of these, in (0, 1] per week of age."""

    def fit(self, log: Interactions) -> ScoredLists:
        """Solve for the items' weights."""
        key = ("ease", self.decay_per_week, self.ridge)
        model = log.made(key, lambda: fit_ease(self._matrix(log), self.ridge))
        popularity = log.popularity(self.popularity_days)[log.core] ** self.popularity_power
        return ScoredLists(log, partial(self._scores, log, model, popularity.astype(np.float32)))

    def _matrix(self, log: Interactions) -> sparse.csr_array:
        matrix = log.core_frequency(self.decay_per_week)
        return matrix if self.decay_per_week is None else matrix.sqrt()

    def _scores(
        self,
        log: Interactions,
        model: "EaseModel",
        popularity: Float32[np.ndarray, " items"],
        rows: Int64[np.ndarray, " users"],
    ) -> Scores:
        scores = np.maximum(model.scores(rows), 0) * popularity
        scores /= np.maximum(scores.max(axis=1, keepdims=True, initial=0), _TINY)
        if not self.own_weight:
            return Scores(scores)
        weight = np.float32(self.own_weight)
        scores += weight * dense(log.core_frequency(self.own_decay_per_week)[rows])
        beyond = beyond_core(log, log.frequency(self.own_decay_per_week)[rows])
        return Scores(scores, beyond * weight)


@dataclass(frozen=True, eq=False)
class EaseModel:
    """``B`` of one matrix ``X`` and one ridge, held in whichever form is smaller."""

    users: sparse.csr_array
    """``X``, (users, items)."""
    inverse: Float32[np.ndarray, "rank rank"]
    """``(X X' + ridge I)^-1`` when ``by_user``, else ``B`` itself."""
    scale: Float32[np.ndarray, " items"]
    """``1 / P_jj`` when ``by_user``, else unused."""
    by_user: bool

    def scores(self, rows: Int64[np.ndarray, " users"]) -> Float32[np.ndarray, "users items"]:
        """``X B`` for some users.

        With ``P = (X'X + ridge I)^-1`` it is ``B = I - P diag(1 / P)`` and ``X P = (X X' + ridge I)^-1 X``:
        no items x items matrix is needed where there are fewer users than items.
        """
        if not self.by_user:
            return np.asarray(self.users[rows] @ self.inverse, dtype=np.float32)
        found = dense(self.users[rows])
        found -= (self.inverse[rows] @ self.users) * self.scale
        return found


def fit_ease(users: sparse.csr_array, ridge: float) -> EaseModel:
    """Minimise ``|X - X B|^2 + ridge |B|^2`` with a zero diagonal.

    ``P = (X'X + ridge I)^-1``, ``B_ij = -P_ij / P_jj`` and ``B_jj = 0``. The inverse taken is that of the
    smaller side: ``P = (I - X' (X X' + ridge I)^-1 X) / ridge`` (Woodbury).

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, equations 7 and 8.

    Args:
        users: ``X``, (users, items).
        ridge: Strength of the regularisation, > 0.
    """
    num_users, num_items = users.shape
    if num_users < num_items:
        inverse = _inverse((users @ users.T).toarray(), ridge)
        diagonal = (1 - users.multiply(inverse @ users).sum(axis=0)) / ridge
        return EaseModel(users, inverse, (1 / diagonal).astype(np.float32), by_user=True)
    precision = _inverse((users.T @ users).toarray(), ridge)
    scale = (1 / np.diag(precision)).astype(np.float32)
    weights = -precision * scale
    np.fill_diagonal(weights, 0)
    return EaseModel(users, weights, scale, by_user=False)


def _inverse(gram: Float32[np.ndarray, "side side"], ridge: float) -> Float32[np.ndarray, "side side"]:
    gram[np.diag_indices_from(gram)] += ridge
    return np.asarray(cho_solve(cho_factor(gram), np.eye(len(gram), dtype=np.float32)), dtype=np.float32)
