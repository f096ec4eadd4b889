"""int8 vectors as codes, in lists of what lies near each other, and the search through some of the lists.

A code is the vector's byte plus 128, as faiss reads it, so that what lies in a bundle is searched where it
lies. Few vectors are one list, and the search is exact. Of many, only the lists nearest to a query are read.
"""

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import faiss
import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64, Integer, UInt8

MOST_IN_ONE_LIST: Final = 50_000
"""Vectors up to which the search is exact."""
RECALL_AT: Final = 500
MOST_LOOKED_AT: Final = 20_000
"""Texts of those that pass a filter up to which all of them are looked at."""
_RECALL_WANTED = 0.98
_LISTS_PER_ROOT = 4
_SAMPLE_PER_LIST, _ROUNDS = 40, 6
_ASSIGNED_AT_ONCE = 50_000
_MULTIPLIED_AT_ONCE = 10_000
_QUERIES = 200
_TEXTS_PER_QUERY = (1, 2, 4, 8, 16)
_SCALE = np.float32(127)
_SIGN = np.uint8(0x80)
_OFFSET_BITS = 32


@dataclass(frozen=True, eq=False)
class CodeLists:
    """Codes of texts, list by list."""

    codes: UInt8[np.ndarray, "texts dim"]
    starts: Int64[np.ndarray, " lists_and_one"]
    """Where each list begins; one more at the end."""
    texts: Int32[np.ndarray, " clustered"]
    """Text of each code; empty where they are in the texts' own order."""
    centroids: Float32[np.ndarray, "lists dim"]
    """Of unit length; one of zeros where there is one list."""
    num_probes: int = 1
    """Lists that a search reads."""
    recall: float = 1.0
    """Share of the nearest 500 that it finds, see ``tuned``."""

    @classmethod
    def exact(cls, vectors: Int8[np.ndarray, "texts dim"]) -> "CodeLists":
        """One list, in the texts' order."""
        num, dimension = vectors.shape
        codes = np.ascontiguousarray(vectors).view(np.uint8) ^ _SIGN
        starts = np.asarray([0, num], np.int64)
        return cls(codes, starts, np.empty(0, np.int32), np.zeros((1, dimension), np.float32))

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def scanned(self) -> UInt8[np.ndarray, "texts width"]:
        """What a search reads of each text, list by list."""
        return self.codes

    def vectors(self, texts: Integer[np.ndarray, " wanted"]) -> Int8[np.ndarray, "wanted dim"]:
        """Vectors of some texts."""
        rows = self._row_of_text[texts] if len(self.texts) else texts
        found: Int8[np.ndarray, "wanted dim"] = (self.codes[rows] ^ _SIGN).view(np.int8)
        return found

    def mean(self) -> Float32[np.ndarray, " dim"]:
        """The mean of all vectors; reads every one of them."""
        total: Int64[np.ndarray, " dim"] = self.codes.sum(0, dtype=np.int64) - 128 * len(self)
        return (total / max(len(self), 1)).astype(np.float32)

    def nearest(
        self, query: Float32[np.ndarray, " dim"], limit: int
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """Largest inner products with a query, and the texts they are of; equal ones by text.

        Args:
            query: Quantised like the vectors, but not cast.
            limit: Most texts to find.
        """
        limit = min(limit, len(self))
        return self.found_in(self.lists_to_read(query, limit), query, limit)

    def found_in(
        self, lists: Int64[np.ndarray, " lists"], query: Float32[np.ndarray, " dim"], limit: int
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """The same of some of the lists; at most as many texts as there are."""
        limit = min(limit, len(self))
        products, labels = np.full(limit, -np.inf, np.float32), np.full(limit, -1, np.int64)
        if limit:
            self._scan(lists, query, products, labels)
        labels, products = labels[labels >= 0], products[labels >= 0]
        rows = self.starts[labels >> _OFFSET_BITS] + (labels & ((1 << _OFFSET_BITS) - 1))
        texts = self.texts[rows].astype(np.int64) if len(self.texts) else rows
        order = np.lexsort((texts, -products))
        return products[order], texts[order]

    def nearest_of(
        self, query: Float32[np.ndarray, " dim"], limit: int, texts: Int64[np.ndarray, " allowed"]
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """The same of some texts only: as many as are wanted, where there are.

        Up to 20,000 are looked at whatever lists they are in; of more, those in the nearest lists that hold
        as many of them.

        Args:
            query: Quantised like the vectors, but not cast.
            limit: Most texts to find.
            texts: Those that pass a filter.
        """
        return self.reordered(query, self.in_near_lists(query, texts), limit)

    def in_near_lists(
        self, query: Float32[np.ndarray, " dim"], texts: Int64[np.ndarray, " allowed"]
    ) -> Int64[np.ndarray, " looked_at"]:
        """Of many texts, those that ``nearest_of`` looks at."""
        if len(texts) <= MOST_LOOKED_AT or not len(self.texts):
            return texts
        list_of_text = np.searchsorted(self.starts, self._row_of_text[texts], side="right") - 1
        order = np.argsort(-(self.centroids @ query), kind="stable")
        held = np.cumsum(np.bincount(list_of_text, minlength=len(order))[order])
        near = np.zeros(len(order), bool)
        near[order[: max(self.num_probes, int(np.searchsorted(held, MOST_LOOKED_AT)) + 1)]] = True
        found: Int64[np.ndarray, " looked_at"] = texts[near[list_of_text]]
        return found

    def reordered(
        self, query: Float32[np.ndarray, " dim"], texts: Int64[np.ndarray, " some"], limit: int
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """Some texts by the products of their vectors, largest first, equal ones by text."""
        parts = np.array_split(texts, len(texts) // _MULTIPLIED_AT_ONCE + 1)
        products = np.concatenate([self.vectors(part).astype(np.float32) @ query for part in parts])
        order = np.lexsort((texts, -products))[:limit]
        return products[order], texts[order]

    @property
    def exhaustive(self) -> "CodeLists":
        """The same lists, all of which are read."""
        return replace(self, num_probes=len(self.centroids))

    def clustered(self) -> "CodeLists":
        """The same vectors in ``4 sqrt(n)`` lists by spherical k-means, ready to be searched."""
        return self.in_lists(self.learned_centroids()).tuned()

    def learned_centroids(self) -> Float32[np.ndarray, "lists dim"]:
        """What lists are made around, by a sample of 40 vectors for each of them."""
        num_lists = min(round(_LISTS_PER_ROOT * np.sqrt(len(self))), len(self))
        random = np.random.default_rng(0)
        size = min(len(self), _SAMPLE_PER_LIST * num_lists)
        sample = np.sort(random.choice(len(self), size, replace=False))
        means: Any = faiss.Kmeans(self.codes.shape[1], num_lists, niter=_ROUNDS, spherical=True, seed=1)
        means.max_points_per_centroid, means.min_points_per_centroid = _SAMPLE_PER_LIST, 1
        means.train(self.floats(sample))
        found: Float32[np.ndarray, "lists dim"] = means.centroids.reshape(num_lists, -1).copy()
        return found

    def in_lists(self, centroids: Float32[np.ndarray, "lists dim"]) -> "CodeLists":
        """The same vectors, each in the list of the nearest centroid."""
        nearest: Any = faiss.IndexFlatIP(centroids.shape[1])
        nearest.add(centroids)
        parts = np.array_split(np.arange(len(self)), len(self) // _ASSIGNED_AT_ONCE + 1)
        lists = np.concatenate([nearest.search(self.floats(rows), 1)[1][:, 0] for rows in parts])
        order = np.argsort(lists, kind="stable")
        starts = np.searchsorted(lists[order], np.arange(len(centroids) + 1)).astype(np.int64)
        texts = self.texts[order] if len(self.texts) else order.astype(np.int32)
        return CodeLists(self.codes[order], starts, texts, centroids)

    def tuned(self) -> "CodeLists":
        """The same lists, of which so many are read that 98 % of what is nearest is in them.

        That is told by queries as a shop has them: a search for what reads like some items starts from the
        mean of their vectors, and the more of them there are, the more lists are near. So the queries are
        means of 1, 2, 4, 8 and 16 texts drawn at random, and their nearest texts are found exactly.
        """
        list_of_row = np.repeat(np.arange(len(self.centroids)), np.diff(self.starts))
        rows_alone = replace(self, starts=np.asarray([0, len(self)]), texts=np.empty(0, np.int32))
        random, needed = np.random.default_rng(1), []
        for number in range(_QUERIES):
            query = self.mean_of(random.choice(len(self), _TEXTS_PER_QUERY[number % len(_TEXTS_PER_QUERY)]))
            _, nearest_rows = rows_alone.nearest(query, RECALL_AT)
            place = np.empty(len(self.centroids), np.int64)
            place[np.argsort(-(self.centroids @ query), kind="stable")] = np.arange(len(place))
            needed.append(place[list_of_row[nearest_rows]])
        places = np.concatenate(needed)
        probes = int(np.quantile(places, _RECALL_WANTED, method="higher")) + 1
        return replace(self, num_probes=probes, recall=float(np.mean(places < probes)))

    def mean_of(self, rows: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, " dim"]:
        """The mean of some vectors, by row, quantised as queries are."""
        vectors = self.floats(rows)
        total = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)).sum(0)
        unit: Float32[np.ndarray, " dim"] = total / np.float32(max(float(np.linalg.norm(total)), 1e-6))
        query: Float32[np.ndarray, " dim"] = np.rint(unit * _SCALE)
        return query

    def floats(self, rows: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
        """Some of the vectors, by row, to be computed with."""
        found: Float32[np.ndarray, "rows dim"] = (self.codes[rows] ^ _SIGN).view(np.int8).astype(np.float32)
        return found

    def _scan(
        self,
        lists: Int64[np.ndarray, " lists"],
        query: Float32[np.ndarray, " dim"],
        products: Float32[np.ndarray, " limit"],
        labels: Int64[np.ndarray, " limit"],
    ) -> None:
        scanner = self._scanner()
        query = np.ascontiguousarray(query)
        scanner.set_query(faiss.swig_ptr(query))
        heap = faiss.swig_ptr(products), faiss.swig_ptr(labels), len(labels)
        for number in lists.tolist():
            codes = self.scanned[self.starts[number] : self.starts[number + 1]]
            scanner.set_list(number, 0.0)
            scanner.scan_codes(len(codes), faiss.swig_ptr(codes), None, *heap)

    def lists_to_read(self, query: Float32[np.ndarray, " dim"], wanted: int) -> Int64[np.ndarray, " lists"]:
        """The nearest lists; more of them than usual where these hold too few texts."""
        if len(self.starts) == 2:
            return np.zeros(1, np.int64)
        nearness = self.centroids @ query
        nearest = np.argpartition(-nearness, self.num_probes - 1)[: self.num_probes]
        if np.diff(self.starts)[nearest].sum() >= wanted:
            return nearest
        order = np.argsort(-nearness, kind="stable")
        held = np.cumsum(np.diff(self.starts)[order])
        return order[: max(self.num_probes, int(np.searchsorted(held, wanted)) + 1)]

    def _scanner(self) -> Any:  # noqa: ANN401 (faiss says nothing of its type)
        """One per thread, kept: faiss's Python interface cannot free a scanner."""
        kept = self._scanners
        if not hasattr(kept, "scanner"):
            kept.scanner = self.new_scanner()
        return kept.scanner

    def new_scanner(self) -> Any:  # noqa: ANN401 (faiss says nothing of its type)
        """What reads ``scanned``."""
        return self._quantizer.select_InvertedListScanner(faiss.METRIC_INNER_PRODUCT, None, True, None)

    @cached_property
    def _scanners(self) -> threading.local:
        return threading.local()

    @cached_property
    def _quantizer(self) -> Any:  # noqa: ANN401 (faiss says nothing of its methods)
        return faiss.ScalarQuantizer(self.codes.shape[1], faiss.ScalarQuantizer.QT_8bit_direct_signed)

    @cached_property
    def _row_of_text(self) -> Int32[np.ndarray, " texts"]:
        rows = np.empty(len(self.texts), np.int32)
        rows[self.texts] = np.arange(len(self.texts), dtype=np.int32)
        return rows

    @property
    def statement(self) -> dict[str, float]:
        """What a bundle says of the search."""
        sizes = {"lists": float(len(self.starts) - 1), "probes": float(self.num_probes)}
        return sizes | {f"recall@{RECALL_AT}": self.recall}
