"""What a query asks for: the items that have its words, and the items whose texts mean it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex
from recsys.word_index import Matches

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
    def _matches(self) -> Matches:
        return self.catalogue.word_index.matches(self.text)

    @property
    def _having_words(self) -> Bool[np.ndarray, " texts"]:
        """Texts that have more than half of the words that occur in the catalogue at all."""
        enough: Bool[np.ndarray, " texts"] = 2 * self._matches.num_found > max(self._matches.num_known, 1)
        return enough

    def relevance(self, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
        """How well items fit: the cosine, and half the share of the query's words, rounded down to fifths.

        Items that differ by less are equally relevant: the ranker knows better which of them to show first.
        0 for those that neither read alike enough nor have enough of the words.

        Args:
            positions: Catalogue positions.
        """
        texts = self.catalogue.text_of_item[positions]
        cosine = np.zeros(len(positions))
        if self.vector is not None:
            cosine = self.words.similarities(positions, self.vector[None])[:, 0]
        share = self._matches.num_found[texts] / max(self._matches.num_words, 1)
        relevant = self._having_words[texts] | (cosine >= LEAST_SIMILARITY)
        fifths = np.floor(5 * (cosine + share / 2)).clip(min=1)
        found: Float64[np.ndarray, " items"] = np.where(relevant, fifths / 5, 0.0)
        return found

    def with_words(
        self, popularity: Float64[np.ndarray, " items"], limit: int
    ) -> Int64[np.ndarray, " found"]:
        """Items that have more than half of the words: those with most, then the best texts first.

        Args:
            popularity: Per catalogue position.
            limit: Most items to return.
        """
        matches, texts = self._matches, np.flatnonzero(self._having_words)
        order = np.lexsort((texts, -matches.scores[texts], -matches.num_found[texts]))
        return self.catalogue.items_of_texts(texts[order][:limit], popularity)[:limit]

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
