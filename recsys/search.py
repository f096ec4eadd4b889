"""What a query asks for: the items that have its words, and the items whose texts mean it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex

LEAST_SIMILARITY = 0.45
"""Items whose texts are less alike to the query are not offered: nonsense is nearest to something too. Of the
queries tried on groceries, those that made sense found something from .50 to .79, nonsense .40 at most."""


@dataclass(frozen=True, eq=False)
class Sought:
    """One query over one catalogue."""

    text: str
    vector: Float32[np.ndarray, " width"] | None
    """The query, as the encoder reads it; ``None`` where there is no encoder."""
    catalogue: Catalogue
    words: VectorIndex
    """The pretrained encoder's vectors of the items' texts."""

    @cached_property
    def _matches(self) -> tuple[Float64[np.ndarray, " texts"], Int64[np.ndarray, " texts"], int]:
        return self.catalogue.word_index.matches(self.text)

    def with_words(
        self, popularity: Float64[np.ndarray, " items"], limit: int
    ) -> Int64[np.ndarray, " found"]:
        """Items that have the query's words: those with most of them, then the best texts, then the popular.

        Of the words that occur in the catalogue at all, an item has more than half.


        Args:
            popularity: Per catalogue position.
            limit: Most items to return.
        """
        scores, found, num_words = self._matches
        texts = np.flatnonzero(2 * found > max(num_words, 1))
        texts = texts[np.lexsort((texts, -scores[texts], -found[texts]))][:limit]
        return self.catalogue.items_of_texts(texts, popularity)[:limit]

    def nearest(self, popularity: Float64[np.ndarray, " items"], limit: int) -> Int64[np.ndarray, " found"]:
        """Items whose texts are nearest to the query and alike enough, nearest first; see ``with_words``."""
        if self.vector is None:
            return np.empty(0, np.int64)
        near = self.words.nearest_items(self.vector, limit, popularity)
        alike: Bool[np.ndarray, " found"] = (
            self.words.similarities(near, self.vector[None])[:, 0] >= LEAST_SIMILARITY
        )
        found: Int64[np.ndarray, " found"] = near[alike]
        return found
