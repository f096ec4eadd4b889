"""Nearest texts by inner product over int8 vectors, and the items behind them.

The search is exact up to ``recsys.code_lists.MOST_IN_ONE_LIST`` texts; of more, a bundle says how good it is.
"""

from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int8, Int64, Integer
from safetensors.numpy import save_file

from recsys.catalogue import Catalogue
from recsys.code_lists import MOST_IN_ONE_LIST, RECALL_AT, CodeLists
from recsys.list_shards import load_lists, write_in_shards
from recsys.mapped import mapped_arrays
from recsys.ranges import rows_of
from recsys.runner import Runner

_SCALE = 127.0
_AT_ONCE = 65_536


def quantise(vectors: Float[np.ndarray, "texts dim"]) -> Int8[np.ndarray, "texts dim"]:
    """Unit vectors as int8, 1.0 becoming 127."""
    found = np.empty(vectors.shape, np.int8)
    for start in range(0, len(vectors), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        found[rows] = np.rint(np.asarray(vectors[rows]) * _SCALE).astype(np.int8)
    return found


def dequantise(vectors: Int8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """What ``quantise`` kept; offline and online both compute on this."""
    return vectors.astype(np.float32) / np.float32(_SCALE)


class VectorIndex:
    """Distinct texts with their vectors; a search returns items, most popular first within equal texts."""

    def __init__(self, vectors: Int8[np.ndarray, "texts dim"] | CodeLists, catalogue: Catalogue) -> None:
        self._lists = vectors if isinstance(vectors, CodeLists) else CodeLists.exact(vectors)
        self._later = CodeLists.exact(np.empty((0, self.dimension), np.int8))
        self._catalogue = catalogue

    @classmethod
    def load(cls, path: Path, catalogue: Catalogue) -> "VectorIndex":
        """Map what ``save`` wrote, or read what came before it: the vectors alone."""
        arrays = mapped_arrays(path)
        if "vectors" in arrays:
            return cls(arrays["vectors"], catalogue)
        if "short" in arrays:
            found = cls(load_lists(path), catalogue)
            vars(found)["_mean"] = arrays["mean"]
            return found
        facts: dict[str, Any] = {name: arrays.pop(name)[0].item() for name in ("num_probes", "recall")}
        mean = arrays.pop("mean")
        found = cls(CodeLists(**(facts | arrays)), catalogue)
        vars(found)["_mean"] = mean  # reading every vector for it would take longer than all else of a start
        return found

    def save(
        self, path: Path, product_codes_above: int | None = None, runner: Runner | None = None
    ) -> dict[str, float]:
        """Write the vectors, in lists if they are many; what the search through them is like.

        Args:
            path: A ``.safetensors`` file.
            product_codes_above: Number of texts above which product codes are searched and the vectors stay
                on disk, see ``recsys.list_shards``; ``None`` for never.
            runner: Where product codes are made; in this process when absent.
        """
        lists = CodeLists.exact(self.vectors) if len(self._later) else self._lists
        if product_codes_above is not None and len(lists) > product_codes_above:
            return write_in_shards(lists, path, runner)
        if len(lists) > MOST_IN_ONE_LIST and not len(lists.texts):
            lists = lists.clustered()
        arrays = {name: getattr(lists, name) for name in ("codes", "starts", "texts", "centroids")}
        arrays["mean"] = lists.mean() / np.float32(_SCALE)
        facts = {"num_probes": np.asarray([lists.num_probes]), "recall": np.asarray([lists.recall])}
        save_file({name: np.ascontiguousarray(array) for name, array in (arrays | facts).items()}, path)
        return lists.statement

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._lists.codes.shape[1])

    @property
    def vectors(self) -> Int8[np.ndarray, "texts dim"]:
        """All vectors, in the texts' order; a copy."""
        return self._of_texts(np.arange(len(self._lists) + len(self._later)))

    def extended(self, vectors: Int8[np.ndarray, "new dim"], catalogue: Catalogue) -> "VectorIndex":
        """The index with the vectors of later texts; what is centred is so by the mean of the first ones.

        Args:
            vectors: Of the texts that ``catalogue`` has behind those of this index.
            catalogue: The items with their changes.
        """
        _ = self._mean
        found = copy(self)
        before = self._later.vectors(np.arange(len(self._later)))
        found._later = CodeLists.exact(np.concatenate((before, vectors)))
        found._catalogue = catalogue
        return found

    def _of_texts(self, texts: Integer[np.ndarray, " wanted"]) -> Int8[np.ndarray, "wanted dim"]:
        if not len(self._later):
            return self._lists.vectors(texts)
        found, late = np.empty((len(texts), self.dimension), np.int8), texts >= len(self._lists)
        found[~late] = self._lists.vectors(texts[~late])
        found[late] = self._later.vectors(texts[late] - len(self._lists))
        return found

    def of_items(self, positions: Int64[np.ndarray, " items"]) -> Float32[np.ndarray, "items dim"]:
        """Vectors of items by catalogue position."""
        return dequantise(self._of_texts(self._catalogue.text_of_item[positions]))

    def similarities(
        self, positions: Int64[np.ndarray, " items"], vectors: Float32[np.ndarray, "others dim"]
    ) -> Float64[np.ndarray, "items others"]:
        """Inner products of items, by catalogue position, with some vectors."""
        ours = self._of_texts(self._catalogue.text_of_item[positions]).astype(np.float32)
        found: Float64[np.ndarray, "items others"] = (vectors @ ours.T).astype(np.float64).T / _SCALE
        return found

    def centred(self, positions: Int64[np.ndarray, " items"]) -> Float32[np.ndarray, "items dim"]:
        """Vectors less the mean of all texts, of unit length or 0: what tells an item from the others."""
        return self._centred(self.of_items(positions))

    def centred_texts(self, rows: slice) -> Float32[np.ndarray, "texts dim"]:
        """The same for some of the texts."""
        return self._centred(dequantise(self._of_texts(np.arange(rows.start, rows.stop))))

    def _centred(self, vectors: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
        apart = vectors - self._mean
        norms = np.linalg.norm(apart, axis=1, keepdims=True)
        unit: Float32[np.ndarray, "rows dim"] = apart / np.maximum(norms, np.float32(1e-6))
        return unit

    @cached_property
    def _mean(self) -> Float32[np.ndarray, " dim"]:
        return self._lists.mean() / np.float32(_SCALE)

    def nearest_items(
        self, vector: Float32[np.ndarray, " dim"], limit: int, popularity: Float64[np.ndarray, " items"]
    ) -> Int64[np.ndarray, " found"]:
        """Items of the nearest texts, nearest first.

        Items with equal texts have equal vectors: they come most popular first. Of the items that nobody
        wants, a text offers one at most, so that they do not crowd out the next text.

        Args:
            vector: Unit query vector; it is quantised like the texts.
            limit: Most items to return.
            popularity: Popularity per catalogue position, for the order within a text.
        """
        found = self._nearest(np.rint(vector * _SCALE).astype(np.float32), limit)
        items, starts = self._catalogue.items_by_text
        lengths = starts[found + 1] - starts[found]
        text_rank = np.repeat(np.arange(len(found)), lengths)
        positions = items[rows_of(starts[found], lengths)]
        return _most_popular_first(positions, text_rank, popularity)[:limit]

    @property
    def reads_all(self) -> bool:
        """Whether a search looks at every text, so that nothing is nearer than what it finds."""
        return len(self._lists.starts) == 2

    def nearest_of(
        self,
        vector: Float32[np.ndarray, " dim"],
        limit: int,
        popularity: Float64[np.ndarray, " items"],
        among: Int64[np.ndarray, " allowed"],
    ) -> Int64[np.ndarray, " found"]:
        """The same of some items only, whatever lists they are in; looks at every one of them.

        Args:
            vector: Unit query vector.
            limit: Most items to return.
            popularity: Popularity per catalogue position.
            among: Catalogue positions of those that may be found.
        """
        query = np.rint(vector * _SCALE).astype(np.float32)
        texts, text_of_item = np.unique(self._catalogue.text_of_item[among], return_inverse=True)
        texts = texts.astype(np.int64)
        num_first = np.searchsorted(texts, len(self._lists))
        products, found = self._lists.nearest_of(query, limit, texts[:num_first])
        theirs, later = self._later.nearest_of(query, limit, texts[num_first:] - len(self._lists))
        order = np.argsort(-np.concatenate((products, theirs)), kind="stable")[:limit]
        rank = np.full(len(texts), limit)
        rank[np.searchsorted(texts, np.concatenate((found, later + len(self._lists)))[order])] = np.arange(
            len(order)
        )
        text_rank = rank[text_of_item]
        near = text_rank < limit
        return _most_popular_first(among[near], text_rank[near], popularity)[:limit]

    def recall(self, vectors: Float32[np.ndarray, "queries dim"], limit: int = RECALL_AT) -> float:
        """Share of the nearest texts, or of texts as near, that the search finds; looks at every text.

        Args:
            vectors: Unit query vectors.
            limit: How many of the nearest texts count.
        """
        shares = []
        for query in np.rint(vectors * _SCALE).astype(np.float32):
            nearest, _ = self._lists.exhaustive.nearest(query, limit)
            found, _ = self._lists.nearest(query, limit)
            shares.append(np.mean(np.pad(found, (0, len(nearest) - len(found))) >= nearest[-1]))
        return float(np.mean(shares))

    def _nearest(self, query: Float32[np.ndarray, " dim"], limit: int) -> Int64[np.ndarray, " found"]:
        products, texts = self._lists.nearest(query, limit)
        if not len(self._later):
            return texts
        theirs, later = self._later.nearest(query, limit)
        order = np.argsort(-np.concatenate((products, theirs)), kind="stable")[:limit]
        return np.concatenate((texts, later + len(self._lists)))[order]


def _most_popular_first(
    positions: Int64[np.ndarray, " items"],
    text_rank: Int64[np.ndarray, " items"],
    popularity: Float64[np.ndarray, " all_items"],
) -> Int64[np.ndarray, " found"]:
    """Items in the order of their texts; of those that nobody wants, the first of each text."""
    order = np.lexsort((positions, -popularity[positions], text_rank))
    ranks = text_rank[order]
    position_in_text = np.arange(len(order)) - np.searchsorted(ranks, ranks)
    keep = (position_in_text == 0) | (popularity[positions[order]] > 0)
    kept: Int64[np.ndarray, " found"] = positions[order][keep]
    return kept
