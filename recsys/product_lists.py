"""Product codes beside the vectors of lists: the search reads a fourth of a byte per dimension.

What a vector has beyond its list's centroid is cut into parts of four numbers, and each part is replaced by
the number of the nearest of 256 learned ones (product quantisation of residuals: Jegou, Douze, Schmid, IEEE
TPAMI 33(1), 2011). These codes are what a search keeps in memory; of the few hundred texts that they find,
the vectors are read from disk and order them.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import faiss
import numpy as np
from jaxtyping import Float32, Int64, Integer, UInt8

from recsys.code_lists import RECALL_AT, CodeLists

LEAST_REORDERED: Final = 500
"""Fewest texts whose vectors are read per search."""
_REORDERED_PER_WANTED = 4
_DIMENSIONS_PER_PART = 4
_VALUES, _BITS = 256, 8
_SCALE = np.float32(127)
_SAMPLE = 65_536
_ENCODED_AT_ONCE = 50_000
_QUERIES = 100


@dataclass(frozen=True, eq=False)
class ProductLists(CodeLists):
    """Lists that are searched by product codes."""

    short: UInt8[np.ndarray, "texts parts"] = field(kw_only=True)
    """Product code of each row of ``codes``."""
    codebooks: Float32[np.ndarray, "parts values width"] = field(kw_only=True)
    """What the bytes of a product code stand for."""

    @classmethod
    def of(cls, lists: CodeLists, codebooks: Float32[np.ndarray, "parts values width"]) -> "ProductLists":
        """The same lists with product codes; nothing is said of their recall, see ``stated``."""
        quantizer = _quantizer(codebooks)
        rows = np.array_split(np.arange(len(lists)), len(lists) // _ENCODED_AT_ONCE + 1)
        short = np.concatenate([quantizer.compute_codes(_residuals(lists, some)) for some in rows])
        known = {
            name: getattr(lists, name) for name in ("codes", "starts", "texts", "centroids", "num_probes")
        }
        return cls(**known, short=short, codebooks=codebooks)

    def stated(self) -> "ProductLists":
        """The same, with the share of the nearest 500 that it finds: by means of three texts as queries."""
        random, found = np.random.default_rng(2), []
        for _ in range(_QUERIES):
            query = self.mean_of(random.choice(len(self), min(3, len(self)), replace=False))
            _, nearest = self.exhaustive.nearest(query, RECALL_AT)
            found.append(np.isin(nearest, self.nearest(query, RECALL_AT)[1]).mean())
        return replace(self, recall=float(np.mean(found)))

    @property
    def scanned(self) -> UInt8[np.ndarray, "texts width"]:
        """See ``CodeLists``."""
        return self.short

    @property
    def exhaustive(self) -> CodeLists:
        """All lists, of which the vectors themselves are read."""
        return CodeLists(self.codes, self.starts, self.texts, self.centroids, len(self.centroids))

    def nearest(
        self, query: Float32[np.ndarray, " dim"], limit: int
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """See ``CodeLists``: largest products by the vectors, among those largest by the product codes."""
        _, texts = super().nearest(query, num_reordered(limit))
        return self.reordered(query, texts, limit)

    def nearest_of(
        self, query: Float32[np.ndarray, " dim"], limit: int, texts: Int64[np.ndarray, " allowed"]
    ) -> tuple[Float32[np.ndarray, " found"], Int64[np.ndarray, " found"]]:
        """See ``CodeLists``: by the vectors, of those that are best by the product codes."""
        texts = self.in_near_lists(query, texts)
        parts, _, width = self.codebooks.shape
        table = np.einsum("pvw,pw->pv", self.codebooks, query.reshape(parts, width))
        rows = self._row_of_text[texts]
        short, products = self.short[rows], (_heads(self) @ query)[_list_of(self, rows)]
        for part in range(parts):
            products += table[part][short[:, part]]
        best = np.argsort(-products, kind="stable")[: num_reordered(limit)]
        return self.reordered(query, texts[best], limit)

    def new_scanner(self) -> Any:  # noqa: ANN401 (faiss says nothing of its type)
        """See ``CodeLists``."""
        searcher = self._searcher
        found = searcher.get_InvertedListScanner(True, None, faiss.IVFSearchParameters())
        found.referenced_objects = [searcher]  # it points into it
        return found

    @cached_property
    def _searcher(self) -> Any:  # noqa: ANN401 (faiss says nothing of its methods)
        """Holds the codebooks alone: the codes are read where they lie."""
        dimension, parts = self.codes.shape[1], len(self.codebooks)
        heads = faiss.IndexFlatIP(dimension)
        heads.add(_heads(self))
        num_lists, metric = len(self.centroids), faiss.METRIC_INNER_PRODUCT
        searcher = faiss.IndexIVFPQ(heads, dimension, num_lists, parts, _BITS, metric)
        searcher.by_residual = True
        faiss.copy_array_to_vector(np.ascontiguousarray(self.codebooks).ravel(), searcher.pq.centroids)
        return searcher


def num_reordered(limit: int) -> int:
    """How many texts' vectors are read where some are wanted."""
    return max(_REORDERED_PER_WANTED * limit, LEAST_REORDERED)


def learned_codebooks(lists: CodeLists) -> Float32[np.ndarray, "parts values width"]:
    """Codebooks by k-means on a sample of what vectors have beyond their centroids."""
    dimension = lists.codes.shape[1]
    parts = next(n for n in range(max(dimension // _DIMENSIONS_PER_PART, 1), 0, -1) if dimension % n == 0)
    rows = np.random.default_rng(3).permutation(len(lists))[:_SAMPLE]
    quantizer = faiss.ProductQuantizer(dimension, parts, _BITS)
    rows = np.resize(rows, max(len(rows), _VALUES))  # few texts are taken repeatedly
    quantizer.train(_residuals(lists, rows))
    found: Float32[np.ndarray, "parts values width"] = faiss.vector_to_array(quantizer.centroids).reshape(
        parts, _VALUES, dimension // parts
    )
    return found


def _heads(lists: CodeLists) -> Float32[np.ndarray, "lists dim"]:
    """The centroids, as long as the vectors are."""
    return lists.centroids * _SCALE


def _list_of(lists: CodeLists, rows: Integer[np.ndarray, " rows"]) -> Int64[np.ndarray, " rows"]:
    found: Int64[np.ndarray, " rows"] = np.searchsorted(lists.starts, rows, side="right") - 1
    return found


def _residuals(lists: CodeLists, rows: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
    found: Float32[np.ndarray, "rows dim"] = lists.floats(rows) - _heads(lists)[_list_of(lists, rows)]
    return found


def _quantizer(codebooks: Float32[np.ndarray, "parts values width"]) -> Any:  # noqa: ANN401 (faiss's own)
    parts, _, width = codebooks.shape
    quantizer = faiss.ProductQuantizer(parts * width, parts, _BITS)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks).ravel(), quantizer.centroids)
    return quantizer
