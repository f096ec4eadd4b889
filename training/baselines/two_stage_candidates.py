"""The candidates of the two-stage baseline: own items, recent popularity, and what the others find."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from training.baselines.als import Als
from training.baselines.baseline import POPULARITY_DAYS, ScoringBaseline, beyond_core
from training.baselines.ease import Ease
from training.baselines.interactions import Interactions
from training.baselines.item_knn import ItemKnn
from training.baselines.lists import among_best
from training.baselines.tifu_knn import TifuKnn
from training.baselines.two_stage_features import ITEM, USER

OWN = "own"
"""Column: the user's own decayed frequency; 0 when the item is new to the user."""
_OWN_DECAY = 0.95
_PARTS: dict[str, ScoringBaseline] = {
    "ease": Ease(),
    "recent_ease": Ease(decay_per_week=0.9, ridge=300.0),
    "als": Als(num_factors=128, confidence=3.0, regularization=30.0, decay_per_week=0.9),
    "cosine": ItemKnn("cosine", decay_per_week=0.95),
    "transitions": ItemKnn("transitions", decay_per_week=0.95, keep_self=True),
    "neighbours": TifuKnn(alpha=0.0),
}
SCORES = (OWN, *_PARTS)
"""Columns: what each source thinks of the candidate; 0 where it has no opinion."""
_BLOCK = 512


def candidates(log: Interactions, users: Int64[np.ndarray, " users"], number: int) -> Iterator[pl.DataFrame]:
    """``user``, ``item``, the ``SCORES`` and each one's rank among the user's candidates; by blocks of users.

    Args:
        log: What is known.
        users: Numbers of the users.
        number: Items per source; own items are all taken.
    """
    parts = {name: part.fit(log) for name, part in _PARTS.items()}
    popular = np.broadcast_to(
        log.popularity(POPULARITY_DAYS)[log.core].astype(np.float32), (1, len(log.core))
    )
    trend = among_best(popular, number)
    for start in range(0, len(users), _BLOCK):
        rows = users[start : start + _BLOCK]
        scores = {OWN: log.core_frequency(_OWN_DECAY)[rows].toarray()}
        scores |= {name: part.score(rows).core for name, part in parts.items()}
        taken = trend | (scores[OWN] > 0)
        for name in parts:
            taken |= among_best(scores[name], number)
        yield _ranked(pl.concat([_core(log, rows, scores, taken), _beyond(log, rows)]))


def _core(
    log: Interactions,
    rows: Int64[np.ndarray, " users"],
    scores: dict[str, Float32[np.ndarray, "users core"]],
    taken: Bool[np.ndarray, "users core"],
) -> pl.DataFrame:
    row, column = taken.nonzero()
    found = {name: score[row, column] for name, score in scores.items()}
    return pl.DataFrame({USER: rows[row], ITEM: log.core[column], **found})


def _beyond(log: Interactions, rows: Int64[np.ndarray, " users"]) -> pl.DataFrame:
    own = beyond_core(log, log.frequency(_OWN_DECAY)[rows]).tocoo()
    nothing = {name: np.zeros(own.nnz, dtype=np.float32) for name in _PARTS}
    items = own.col.astype(np.int64)
    return pl.DataFrame({USER: rows[own.row], ITEM: items, OWN: own.data.astype(np.float32), **nothing})


def _ranked(found: pl.DataFrame) -> pl.DataFrame:
    ranks = [pl.col(name).rank("min", descending=True).over(USER).alias(f"{name}_rank") for name in SCORES]
    return found.sort(USER, ITEM).with_columns(ranks)
