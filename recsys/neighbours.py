"""The strongest neighbours of every item, and what they say about a user's history."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from scipy import sparse

from recsys.item_scores import ItemScores
from recsys.ranges import rows_of

_BLOCK = 2048
_SCATTERED = 16
"""Entries are sorted rather than counted per item where there are this many times more items than entries."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A fitted item-to-item table, sparse: for every item, what it speaks for.

    It is cut by the item spoken for: each keeps its strongest sources, as item-based collaborative filtering
    does, so that a rare item is not crowded out of every row by the popular ones.
    """

    starts: Int64[np.ndarray, " items_and_one"]
    """Where each item's entries start; one more at the end."""
    targets: Int32[np.ndarray, " entries"]
    """Catalogue positions of the items spoken for, ascending within an item."""
    weights: Float32[np.ndarray, " entries"]
    """Strengths, > 0."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""

    @property
    def num_items(self) -> int:
        """Size of the catalogue."""
        return len(self.starts) - 1

    def scores(
        self, positions: Int64[np.ndarray, " history"], weights: Float64[np.ndarray, " history"]
    ) -> ItemScores:
        """The weighted sum of what some items say for others."""
        spoken_for, row_of = self._spoken_for
        starts, lengths = self.starts[positions], self.starts[positions + 1] - self.starts[positions]
        entries = rows_of(starts, lengths)
        said = np.take(self.weights, entries) * np.repeat(weights, lengths)
        targets = np.take(row_of, entries)
        if len(entries) * _SCATTERED < len(spoken_for):
            rows, at = np.unique(targets, return_inverse=True)
            totals = np.bincount(at, said)
        else:
            totals = np.bincount(targets, said, minlength=len(spoken_for))
            rows = np.flatnonzero(totals != 0)  # ten times as fast as of the numbers themselves
            totals = totals[rows]
        values = totals.astype(np.float64, copy=False)  # of no entry at all, they would be integers
        return ItemScores(spoken_for[rows], values, self.num_items)

    @cached_property
    def _spoken_for(self) -> tuple[Int64[np.ndarray, " spoken_for"], Int64[np.ndarray, " entries"]]:
        """The items that any item speaks for, and for each entry which of them it is."""
        spoken = np.zeros(self.num_items, bool)
        spoken[self.targets] = True
        row_of_item = np.cumsum(spoken) - 1
        return np.flatnonzero(spoken), row_of_item[self.targets]

    def without(self, items: Bool[np.ndarray, " items"]) -> "Neighbours":
        """The table in which some items, true per catalogue position, neither speak nor are spoken for."""
        sources = np.repeat(np.arange(len(items)), np.diff(self.starts))
        keep = ~(items[sources] | items[self.targets])
        starts = np.concatenate(([0], np.cumsum(keep)))[self.starts]
        return replace(self, starts=starts, targets=self.targets[keep], weights=self.weights[keep])

    def extended(self, num_items: int) -> "Neighbours":
        """The table of more items, of which the later ones neither speak nor are spoken for."""
        return replace(self, starts=np.pad(self.starts, (0, num_items + 1 - len(self.starts)), "edge"))

    def num_sources(self, position: int) -> int:
        """How many items speak for an item."""
        return int((self.targets == position).sum())


class NeighbourTable:
    """Collects the strongest sources of every item, block by block."""

    def __init__(self, num_items: int, num_neighbours: int) -> None:
        self._num_items, self._num_neighbours = num_items, num_neighbours
        self._sources: list[Int64[np.ndarray, " kept"]] = []
        self._targets: list[Int64[np.ndarray, " kept"]] = []
        self._weights: list[Float32[np.ndarray, " kept"]] = []

    def put(
        self, target: int, sources: Int64[np.ndarray, " sources"], strength: Float32[np.ndarray, " sources"]
    ) -> None:
        """Keep the strongest positive sources of one item; ties in the order given."""
        top = _strongest(strength, self._num_neighbours)
        self._sources.append(sources[top])
        self._targets.append(np.full(len(top), target))
        self._weights.append(strength[top].astype(np.float32))

    def finish(self, fitted_until_ms: int) -> Neighbours:
        """The table as a fitted part."""
        nothing = np.empty(0, np.int64)
        sources, targets = (np.concatenate([nothing, *rows]) for rows in (self._sources, self._targets))
        weights = np.concatenate([np.empty(0, np.float32), *self._weights])
        order = np.lexsort((targets, sources))
        starts = np.searchsorted(sources[order], np.arange(self._num_items + 1))
        return Neighbours(starts, targets[order].astype(np.int32), weights[order], fitted_until_ms)


def cosine_neighbours(
    before: sparse.csr_array,
    after: sparse.csr_array,
    items: Int64[np.ndarray, " columns"],
    shrinkage: float,
    table: NeighbourTable,
) -> None:
    """Put ``n_ij / (sqrt(n_i n_j) + shrinkage)`` of every two columns into a table, i speaking for j.

    ``n_ij`` is the product of column i of ``before`` and column j of ``after``; ``n_i`` and ``n_j`` are the
    columns' sums.

    Args:
        before: Rows are baskets, columns items.
        after: The same baskets' counterparts, or the same matrix.
        items: Catalogue position per column, ascending.
        shrinkage: Larger values trust pairs that are seen rarely less.
        table: Where the neighbours go.
    """
    root_before, root_after = (np.sqrt(np.asarray(m.sum(axis=0)).ravel()) for m in (before, after))
    transposed = after.T.tocsr()
    for start in range(0, len(items), _BLOCK):
        block = (transposed[start : start + _BLOCK] @ before).tocsr()
        block.sort_indices()
        for row in range(block.shape[0]):
            entries = slice(block.indptr[row], block.indptr[row + 1])
            other, target = block.indices[entries], start + row
            strength = block.data[entries] / (root_before[other] * root_after[target] + shrinkage)
            strength[other == target] = 0.0
            table.put(int(items[target]), items[other], strength)


def basket_matrix(
    basket: Int64[np.ndarray, " rows"], column: Int64[np.ndarray, " rows"], num_columns: int
) -> sparse.csr_array:
    """Ones where a basket holds an item; rows of the input must be distinct."""
    shape = (int(basket.max(initial=-1)) + 1, num_columns)
    return sparse.csr_array((np.ones(len(basket), np.float32), (basket, column)), shape=shape)


def _strongest(strength: Float32[np.ndarray, " others"], limit: int) -> Int64[np.ndarray, " kept"]:
    """Rows of the largest positive strengths, largest first; ties in order."""
    rows = np.flatnonzero(strength > 0)
    if limit < len(rows):
        smallest = np.partition(strength[rows], -limit)[-limit]
        rows = rows[strength[rows] >= smallest]
    kept: Int64[np.ndarray, " kept"] = rows[np.argsort(-strength[rows], kind="stable")][:limit]
    return kept
