"""What every baseline can do, and the part that is the same for all that score items."""

from collections.abc import Callable
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from scipy import sparse

from recsys.schema import ITEM_ID
from training.baselines.events import popularity
from training.baselines.interactions import Interactions
from training.baselines.lists import best_items, filled, ranked

POPULARITY_DAYS = 28
"""Window of the popularity that fills up lists which are too short, in days."""
_BLOCK = 512


@runtime_checkable
class Fitted(Protocol):
    """A baseline that knows a log."""

    def lists(self, users: pl.Series, depth: int = 10, *, novel: bool = False) -> pl.DataFrame:
        """Ranked lists.

        Args:
            users: Ids of the users who get a list; unknown ones get popular items.
            depth: Longest list, at least 1.
            novel: Leave out what the user had before, by an event of any type.

        Returns:
            ``user_id``, ``item_id``, ``rank`` (1 = best); sorted by user, equal scores by item id.
        """


@runtime_checkable
class Baseline(Protocol):
    """Settings that can be fitted: a frozen dataclass that holds one choice of settings and nothing else."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def fit(self, log: Interactions) -> Fitted:
        """Learn from everything that ``log`` shows, and from nothing later."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a baseline thinks of items; only scores above 0 count."""

    core: Float32[np.ndarray, "users core"]
    """Scores of the log's core items."""
    beyond: sparse.csr_array | None = None
    """(users, all items): scores of items outside the core. Those are items that the user had before."""


ScoreRows = Callable[[Int64[np.ndarray, " users"]], Scores]
"""Scores of the users of these numbers, which ascend."""


@dataclass(frozen=True, eq=False)
class ScoredLists:
    """Lists by score, with popular items behind what has no score above 0."""

    log: Interactions
    score: ScoreRows

    def lists(self, users: pl.Series, depth: int = 10, *, novel: bool = False) -> pl.DataFrame:
        """See ``Fitted``."""
        found: dict[str, list[str]] = {user: [] for user in users.unique().to_list()}
        known = [user for user in sorted(found) if self.log.rows_of([user])[0] >= 0]
        for start in range(0, len(known), _BLOCK):
            block = known[start : start + _BLOCK]
            best = self._best(self.log.rows_of(block), depth, novel=novel)
            for user, items in zip(block, best, strict=True):
                found[user] = [self.log.items[item] for item in items]
        return ranked({user: self._full(user, items, depth, novel=novel) for user, items in found.items()})

    def _best(
        self, rows: Int64[np.ndarray, " users"], depth: int, *, novel: bool
    ) -> list[Int64[np.ndarray, " best"]]:
        scores = self.score(rows)
        if not novel:
            return best_items(scores.core, self.log.core, depth, scores.beyond)
        unseen = scores.core.copy()
        unseen[self.log.core_seen[rows].nonzero()] = 0
        return best_items(unseen, self.log.core, depth)

    def _full(self, user: str, items: list[str], depth: int, *, novel: bool) -> list[str]:
        if len(items) == depth:
            return items
        row = self.log.rows_of([user])[0]
        had = [self.log.items[item] for item in self.log.seen[[row]].indices] if novel and row >= 0 else []
        return filled(items, {*items, *had}, popular_items(self.log), depth)


@runtime_checkable
class ScoringBaseline(Protocol):
    """A baseline whose scores others may use."""

    def fit(self, log: Interactions) -> ScoredLists:
        """Learn from everything that ``log`` shows, and from nothing later."""


def popular_items(log: Interactions) -> list[str]:
    """Ids of what was touched within ``POPULARITY_DAYS``, most popular first, ties by id."""

    def make() -> list[str]:
        counted = popularity(log.events, log.as_of_ms, POPULARITY_DAYS, log.weights)
        return counted[ITEM_ID].to_list()

    return log.made("popular items", make)


def beyond_core(log: Interactions, scores: sparse.csr_array) -> sparse.csr_array:
    """(users, all items) scores with those of the core items taken out."""
    outside = np.ones(len(log.items), dtype=np.float32)
    outside[log.core] = 0
    beyond: sparse.csr_array = scores.multiply(outside[None, :]).tocsr()
    beyond.eliminate_zeros()
    return beyond
