"""A log as matrices of users and items, made once and shared by every baseline that is fitted on it."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int64
from scipy import sparse

from recsys.schema import EFFECTIVE_TIME, ITEM_ID, USER_ID
from training.baselines.events import POPULARITY, WEIGHT, popularity, visible, weighted

WEEK_MS = 7 * 24 * 60 * 60 * 1000
MAX_CORE_ITEMS = 10_000
"""Most items that collaborative baselines model: those with most users."""

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Interactions:
    """What was visible at one moment. Users and items are numbered in the order of their ids.

    Attributes:
        events: Visible events of every type: ``user_id``, ``item_id``, ``event_type``, ``effective_time``.
        as_of_ms: The moment, milliseconds since the epoch.
        weights: Weight by event type; the configuration's when ``None``.
        max_core_items: Size of ``core``.
    """

    events: pl.DataFrame
    as_of_ms: int
    weights: Mapping[str, float] | None = None
    max_core_items: int = MAX_CORE_ITEMS
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        history: pl.DataFrame,
        as_of_ms: int,
        weights: Mapping[str, float] | None = None,
        max_core_items: int = MAX_CORE_ITEMS,
    ) -> "Interactions":
        """The events of ``history`` strictly before ``as_of_ms``.

        Raises:
            DataError: A column is missing.
        """
        return cls(visible(history, as_of_ms), as_of_ms, weights, max_core_items)

    def earlier(self, as_of_ms: int, *, keep: bool = True) -> "Interactions":
        """The same log as it was at an earlier moment.

        Args:
            as_of_ms: The moment, milliseconds since the epoch.
            keep: Whether the next call gets the same one. What is fitted on a log lives as long as the log.
        """
        key = ("earlier", as_of_ms)
        found = self._made.get(key)
        log = found or Interactions.of(self.events, as_of_ms, self.weights, self.max_core_items)
        return self.made(key, lambda: log) if keep else log

    def made(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made under ``key`` before, else what ``make`` returns now.

        Baselines keep here what several of their settings, or several baselines, share. A key starts with
        the name of what it stands for and holds every setting that shapes it.
        """
        if key not in self._made:
            self._made[key] = make()
        found: Made = self._made[key]
        return found

    @cached_property
    def users(self) -> list[str]:
        """Ids of everybody who did anything."""
        return self.events[USER_ID].unique().sort().to_list()

    @cached_property
    def items(self) -> list[str]:
        """Ids of everything that anything was done to."""
        return self.events[ITEM_ID].unique().sort().to_list()

    @cached_property
    def liked(self) -> pl.DataFrame:
        """Events of positive weight with numbers ``user`` and ``item``, ``weight`` and ``time_ms``."""
        return self.numbered(weighted(self.events, self.weights)).select(
            "user", "item", WEIGHT, pl.col(EFFECTIVE_TIME).dt.epoch("ms").alias("time_ms")
        )

    @cached_property
    def seen(self) -> sparse.csr_array:
        """(users, items): 1 where the user had an event of any type with the item."""
        pairs = self.numbered(self.events).select("user", "item").unique()
        return self._matrix(pairs["user"], pairs["item"], np.ones(pairs.height))

    @cached_property
    def core_seen(self) -> sparse.csr_array:
        """(users, core): the core items' columns of ``seen``."""
        return self.seen[:, self.core].tocsr()

    @cached_property
    def core(self) -> Int64[np.ndarray, " core"]:
        """Numbers of the items with most users, ascending; at most ``max_core_items``, ties by id."""
        support = np.diff(self.frequency(1.0).tocsc().indptr)
        strongest = np.argsort(-support, kind="stable")[: self.max_core_items]
        return np.sort(strongest[support[strongest] > 0]).astype(np.int64)

    def frequency(self, decay_per_week: float) -> sparse.csr_array:
        """(users, items): sum over the pair's events of ``weight * decay_per_week^(age in weeks)``."""

        def make() -> sparse.csr_array:
            weeks = (self.as_of_ms - self.liked["time_ms"].to_numpy()) / WEEK_MS
            values = self.liked[WEIGHT].to_numpy() * decay_per_week**weeks
            return self._matrix(self.liked["user"], self.liked["item"], values)

        return self.made(("frequency", decay_per_week), make)

    def core_frequency(self, decay_per_week: float | None) -> sparse.csr_array:
        """(users, core): the core items' ``frequency``; without a decay, 1 wherever there is any."""

        def make() -> sparse.csr_array:
            columns = self.frequency(1.0 if decay_per_week is None else decay_per_week)[:, self.core].tocsr()
            if decay_per_week is None:
                columns.data = np.ones_like(columns.data)
            return columns

        return self.made(("core frequency", decay_per_week), make)

    def popularity(self, days: int) -> Float64[np.ndarray, " items"]:
        """How many people touched each item within the last ``days`` days, each by their strongest event."""

        def make() -> Float64[np.ndarray, " items"]:
            counted = popularity(self.events, self.as_of_ms, days, self.weights)
            every = pl.DataFrame({ITEM_ID: self.items}, schema={ITEM_ID: pl.String})
            joined = every.join(counted, on=ITEM_ID, how="left", maintain_order="left")
            return joined[POPULARITY].fill_null(0.0).to_numpy()

        return self.made(("popularity", days), make)

    def rows_of(self, users: list[str]) -> Int64[np.ndarray, " users"]:
        """Numbers of users; -1 where nothing is known of one."""
        known = self.made("user numbers", lambda: {user: row for row, user in enumerate(self.users)})
        return np.array([known.get(user, -1) for user in users], dtype=np.int64)

    def numbered(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events with the numbers ``user`` and ``item``; those of unknown users or items are left out."""
        users = pl.DataFrame({USER_ID: self.users}, schema={USER_ID: pl.String}).with_row_index("user")
        items = pl.DataFrame({ITEM_ID: self.items}, schema={ITEM_ID: pl.String}).with_row_index("item")
        found = events.join(users, on=USER_ID, maintain_order="left")
        found = found.join(items, on=ITEM_ID, maintain_order="left")
        return found.with_columns(pl.col("user", "item").cast(pl.Int64))

    def _matrix(
        self, users: pl.Series, items: pl.Series, values: Float64[np.ndarray, " n"]
    ) -> sparse.csr_array:
        shape = (len(self.users), len(self.items))
        matrix = sparse.csr_array((values, (users.to_numpy(), items.to_numpy())), shape=shape)
        matrix.sum_duplicates()
        return matrix.astype(np.float32)


def dense(matrix: sparse.csr_array) -> Float32[np.ndarray, "rows columns"]:
    """A sparse matrix with its zeros written out."""
    written: Float32[np.ndarray, "rows columns"] = matrix.toarray().astype(np.float32, copy=False)
    return written
