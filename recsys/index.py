"""Exact nearest texts by inner product over int8 vectors, and the items behind them."""

from copy import copy
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float, Float32, Float64, Int8, Int64

from recsys.catalogue import Catalogue
from recsys.ranges import rows_of

_SCALE = 127.0


def quantise(vectors: Float[np.ndarray, "texts dim"]) -> Int8[np.ndarray, "texts dim"]:
    """Unit vectors as int8, 1.0 becoming 127."""
    return np.rint(np.asarray(vectors) * _SCALE).astype(np.int8)


def dequantise(vectors: Int8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """What ``quantise`` kept; offline and online both compute on this."""
    return vectors.astype(np.float32) / np.float32(_SCALE)


class VectorIndex:
    """Distinct texts with their vectors; a search returns items, most popular first within equal texts."""

    def __init__(self, vectors: Int8[np.ndarray, "texts dim"], catalogue: Catalogue) -> None:
        self.vectors = vectors
        self._catalogue = catalogue
        self._index: Any = faiss.IndexScalarQuantizer(
            vectors.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        self._index.add(vectors.astype(np.float32))

    def extended(self, vectors: Int8[np.ndarray, "new dim"], catalogue: Catalogue) -> "VectorIndex":
        """The index with the vectors of later texts; what is centred is so by the mean of the first ones.

        Args:
            vectors: Of the texts that ``catalogue`` has behind those of this index.
            catalogue: The items with their changes.
        """
        _ = self._mean
        found = copy(self)
        found.vectors = np.concatenate((self.vectors, vectors))
        found._catalogue = catalogue
        found._index = faiss.clone_index(self._index)
        if len(vectors):
            found._index.add(vectors.astype(np.float32))
        return found

    def of_items(self, positions: Int64[np.ndarray, " items"]) -> Float32[np.ndarray, "items dim"]:
        """Vectors of items by catalogue position."""
        return dequantise(self.vectors[self._catalogue.text_of_item[positions]])

    def similarities(
        self, positions: Int64[np.ndarray, " items"], vectors: Float32[np.ndarray, "others dim"]
    ) -> Float64[np.ndarray, "items others"]:
        """Inner products of items, by catalogue position, with some vectors."""
        ours = self.vectors[self._catalogue.text_of_item[positions]].astype(np.float32)
        found: Float64[np.ndarray, "items others"] = (vectors @ ours.T).astype(np.float64).T / _SCALE
        return found

    def centred(self, positions: Int64[np.ndarray, " items"]) -> Float32[np.ndarray, "items dim"]:
        """Vectors less the mean of all texts, of unit length or 0: what tells an item from the others."""
        return self._centred(self.of_items(positions))

    def centred_texts(self, rows: slice) -> Float32[np.ndarray, "texts dim"]:
        """The same for some of the texts."""
        return self._centred(dequantise(self.vectors[rows]))

    def _centred(self, vectors: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
        apart = vectors - self._mean
        norms = np.linalg.norm(apart, axis=1, keepdims=True)
        unit: Float32[np.ndarray, "rows dim"] = apart / np.maximum(norms, np.float32(1e-6))
        return unit

    @cached_property
    def _mean(self) -> Float32[np.ndarray, " dim"]:
        mean: Float64[np.ndarray, " dim"] = self.vectors.mean(0, dtype=np.float64)
        return (mean / _SCALE).astype(np.float32)

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
        num_texts = min(limit, len(self.vectors))
        if not num_texts:
            return np.empty(0, np.int64)
        query = np.rint(vector[None, :] * _SCALE).astype(np.float32)
        _, texts = self._index.search(query, num_texts)
        items, starts = self._catalogue.items_by_text
        found = texts[0][texts[0] >= 0]
        lengths = starts[found + 1] - starts[found]
        text_rank = np.repeat(np.arange(len(found)), lengths)
        positions = items[rows_of(starts[found], lengths)]
        order = np.lexsort((positions, -popularity[positions], text_rank))
        position_in_text = np.arange(len(order)) - np.searchsorted(text_rank, text_rank)
        keep = (position_in_text == 0) | (popularity[positions[order]] > 0)
        kept: Int64[np.ndarray, " found"] = positions[order][keep][:limit]
        return kept
