"""Item neighbours: what goes with, or comes after, the items that a user had."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from scipy import sparse

from training.baselines.baseline import ScoredLists, Scores
from training.baselines.interactions import Interactions, dense
from training.baselines.lists import among_best

STEP_DECAY = 0.7
"""What a step is worth relative to the step nearer by."""
MAX_STEPS = 5
"""Steps that count, both between two items of a transition and back from a user's last step."""
_BLOCK = 512


@dataclass(frozen=True)
class ItemKnn:
    """Neighbours of the user's items, each by its closeness and by how much the item weighs for the user.

    A step is everything that one user did at one moment. Closeness of i and j, before all but the strongest
    ``num_neighbours`` of i are dropped:

    - ``cosine``: ``n_ij / sqrt(n_i n_j)``, counting users who had the items;
    - ``transitions``: ``sum of 0.7^(s - 1) over j being s steps behind i / sqrt(n_i n_j)`` for s of 1 to 5,
      counting steps that hold the items.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001, for the
        cosine. The transitions are its order-aware form.
    """

    closeness: Literal["cosine", "transitions"] = "transitions"
    num_neighbours: int = 200
    """Neighbours kept per item, >= 1."""
    decay_per_week: float | None = None
    """The user's items weigh by decayed frequency, with this factor in (0, 1] per week of age; without one,
    by 0.7 per step back, over the last 5 steps."""
    keep_self: bool = False
    """Whether an item is a neighbour of itself, by cosine 1 or by how often it follows itself."""

    def fit(self, log: Interactions) -> ScoredLists:
        """Find every core item's neighbours."""
        weights = _last_steps(log) if self.decay_per_week is None else log.core_frequency(self.decay_per_week)
        others, selves = log.made(
            ("item neighbours", self.closeness, self.num_neighbours), partial(self._neighbours, log)
        )
        neighbours = others + sparse.diags_array(selves) if self.keep_self else others
        return ScoredLists(log, partial(_scores, weights, neighbours.tocsr()))

    def _neighbours(self, log: Interactions) -> tuple[sparse.csr_array, Float32[np.ndarray, " core"]]:
        """Closeness to other items, (core, core), and of each item to itself."""
        if self.closeness == "cosine":
            before = behind = log.core_frequency(None)
        else:
            before, behind = steps(log)[0], later_steps(log)
        scaling = sparse.diags_array(1 / np.sqrt(np.maximum(before.sum(axis=0), 1)).astype(np.float32))
        left, right = (before @ scaling).tocsr(), (behind @ scaling).tocsr()
        selves = np.asarray(left.multiply(right).sum(axis=0), dtype=np.float32)
        return _strongest(left.T.tocsr(), right, self.num_neighbours), selves


def steps(log: Interactions) -> tuple[sparse.csr_array, Int64[np.ndarray, " steps"]]:
    """(steps, core): 1 where the step holds the item; and each step's user. Ordered by user, then time."""

    def make() -> tuple[sparse.csr_array, Int64[np.ndarray, " steps"]]:
        place = np.full(len(log.items), -1)
        place[log.core] = np.arange(len(log.core))
        rows = log.liked.select("user", "time_ms", "item").unique().sort("user", "time_ms", "item")
        numbered = rows.with_columns(step=pl.struct("user", "time_ms").rle_id().cast(pl.Int64))
        users = numbered.unique("step", maintain_order=True)["user"].to_numpy()
        column = place[numbered["item"].to_numpy()]
        within = column >= 0
        cells = (numbered["step"].to_numpy()[within], column[within])
        ones = np.ones(int(within.sum()), dtype=np.float32)
        return sparse.csr_array((ones, cells), shape=(len(users), len(log.core))), users

    return log.made("steps", make)


def later_steps(log: Interactions) -> sparse.csr_array:
    """(steps, core): what the user's next ``MAX_STEPS`` steps hold, by ``STEP_DECAY^(distance - 1)``."""
    held, users = steps(log)
    later = sparse.csr_array(held.shape, dtype=np.float32)
    for distance in range(1, min(MAX_STEPS, len(users) - 1) + 1):
        same = (users[distance:] == users[:-distance]).astype(np.float32) * STEP_DECAY ** (distance - 1)
        shift = sparse.diags_array(same, offsets=distance, shape=(len(users), len(users)))
        later = later + shift.tocsr() @ held
    return later.tocsr()


def _last_steps(log: Interactions) -> sparse.csr_array:
    """(users, core): sum of ``STEP_DECAY^(steps back)`` over the last ``MAX_STEPS`` steps with it."""

    def make() -> sparse.csr_array:
        held, users = steps(log)
        ends = np.searchsorted(users, users, side="right")
        back = ends - 1 - np.arange(len(users))
        worth = np.where(back < MAX_STEPS, STEP_DECAY ** np.minimum(back, MAX_STEPS), 0).astype(np.float32)
        cells = (users, np.arange(len(users)))
        weights = sparse.csr_array((worth, cells), shape=(len(log.users), len(users)))
        weights.eliminate_zeros()
        return (weights @ held).tocsr()

    return log.made("last steps", make)


def _strongest(left: sparse.csr_array, right: sparse.csr_array, number: int) -> sparse.csr_array:
    """The ``number`` greatest entries of each row of ``left @ right``, those on the diagonal left out."""
    none = np.empty(0, dtype=np.int64)
    rows, columns, values = [none], [none], [np.empty(0, dtype=np.float32)]
    for start in range(0, left.shape[0], _BLOCK):
        block = dense(left[start : start + _BLOCK] @ right)
        block[np.arange(len(block)), start + np.arange(len(block))] = 0
        row, column = among_best(block, number).nonzero()
        rows.append(row + start)
        columns.append(column)
        values.append(block[row, column])
    cells = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), cells), shape=(left.shape[0], right.shape[1]))


def _scores(
    weights: sparse.csr_array, neighbours: sparse.csr_array, rows: Int64[np.ndarray, " users"]
) -> Scores:
    return Scores(dense(weights[rows] @ neighbours))
