"""What is known of items that read alike stands in for what is not known of an item yet.

Every text keeps the known items whose pretrained vectors are nearest to its own. A score that behaviour gives
to known items then reaches any item by its words, as an average over these neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex
from recsys.item_history import ItemHistory
from recsys.item_scores import ItemScores, strongest
from recsys.ranges import rows_of

FEWEST_USERS = 3
"""Users that an item must have had to be known."""
_MOST_KNOWN = 8_000
_NEIGHBOURS = 20
_SHARPNESS = 8.0
_MOST_HEARD = 400
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Resemblance:
    """The known items that each text reads like."""

    neighbours: Int32[np.ndarray, "texts neighbours"]
    """Catalogue positions of known items."""
    weights: Float32[np.ndarray, "texts neighbours"]
    """Sum to 1 per text, or to 0 where ``without`` left none."""
    text_of_item: Int32[np.ndarray, " items"]
    """Text per catalogue position."""
    unknown: Int64[np.ndarray, " unknown"]
    """Catalogue positions of items that fewer than 3 users had, one per text."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""

    def of_items(self, positions: Int64[np.ndarray, " wanted"]) -> "Alike":
        """The known items that some items read like, themselves left out.

        Args:
            positions: Catalogue positions of the wanted items.
        """
        texts = self.text_of_item[positions]
        near = self.neighbours[texts]
        weights = np.where(near == positions[:, None], 0.0, self.weights[texts].astype(np.float64))
        weights /= np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        return Alike(near, weights)

    def of_unknown(self, scores: Sequence[ItemScores]) -> ItemScores:
        """Of every item of ``unknown``, the sum of some scores' averages, each over the score's greatest.

        Only the 400 known items that score most together are heard: of the first 100 unknown items, 96 are
        those that all known items would have put there, at a quarter of the time.

        Args:
            scores: Scores of the known items.
        """
        known, table = self._speaking_for_unknown
        shares = np.sum([score.at(known) / (score.greatest() or 1.0) for score in scores], axis=0)
        heard = strongest(shares, _MOST_HEARD)
        starts, lengths = table.indptr[heard], np.diff(table.indptr)[heard]
        entries = rows_of(starts, lengths)
        said = table.data[entries] * np.repeat(shares[heard], lengths)
        sums = np.bincount(table.indices[entries], said, minlength=len(self.unknown))
        return ItemScores(self.unknown, sums.astype(np.float64, copy=False), len(self.text_of_item))

    def without(self, items: Bool[np.ndarray, " items"], history: ItemHistory) -> "Resemblance":
        """What is left when some items, true per catalogue position, are unknown.

        Their weight goes to the text's other neighbours, none comes in for them.

        Args:
            items: Which items.
            history: The history without theirs.
        """
        weights = np.where(items[self.neighbours], np.float32(0), self.weights)
        weights /= np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float32).tiny)
        return replace(self, weights=weights, unknown=_unknown(history.users, self.text_of_item))

    def extended(self, words: VectorIndex, catalogue: Catalogue, history: ItemHistory) -> "Resemblance":
        """The same with later items and texts, which nobody knows yet; see ``fit_resemblance``.

        Args:
            words: The pretrained encoder's vectors of all texts.
            catalogue: All items.
            history: What is known of the first ones, from which all neighbours come.
        """
        known = _known(history)
        neighbours, weights = _nearest(words, known, len(self.neighbours), len(catalogue.texts))
        users = np.pad(history.users, (0, len(catalogue) - len(history.users)))
        return replace(
            self,
            neighbours=np.concatenate((self.neighbours, neighbours)),
            weights=np.concatenate((self.weights, weights)),
            text_of_item=catalogue.text_of_item,
            unknown=_unknown(users, catalogue.text_of_item),
        )

    @cached_property
    def _speaking_for_unknown(self) -> tuple[Int64[np.ndarray, " known"], sparse.csr_array]:
        """The known items that any unknown item reads like, and a row of weights per known item."""
        texts = self.text_of_item[self.unknown]
        known, columns = np.unique(self.neighbours[texts], return_inverse=True)
        starts = np.arange(len(texts) + 1) * self.neighbours.shape[1]
        entries = self.weights[texts].astype(np.float64).ravel(), columns.ravel(), starts
        by_unknown = sparse.csr_array(entries, shape=(len(texts), len(known)))
        return known.astype(np.int64), by_unknown.T.tocsr()


@dataclass(frozen=True, eq=False)
class Alike:
    """The known items that each of some items reads like."""

    neighbours: Int32[np.ndarray, "wanted neighbours"]
    """Catalogue positions."""
    weights: Float64[np.ndarray, "wanted neighbours"]
    """Sum to 1, or to 0 where an item reads like nothing known."""

    def mean(
        self, scores_at: Callable[[Int32[np.ndarray, "wanted neighbours"]], np.ndarray]
    ) -> Float64[np.ndarray, " wanted"]:
        """The average of a score over what each item reads like; 0 where that is nothing.

        Args:
            scores_at: Gives the score by catalogue position, for an array of positions.
        """
        found: Float64[np.ndarray, " wanted"] = np.einsum(
            "ij,ij->i", scores_at(self.neighbours), self.weights, dtype=np.float64
        )
        return found


def fit_resemblance(words: VectorIndex, catalogue: Catalogue, history: ItemHistory) -> Resemblance:
    """Find the 20 nearest known items of every text, among the 8,000 that the most users had.

    A neighbour weighs ``exp(8 cos)``, divided by the sum of the weights; the cosine is that of the vectors
    less the mean of all texts.

    Args:
        words: The pretrained encoder's vectors.
        catalogue: The items.
        history: Says how many users had each item.
    """
    neighbours, weights = _nearest(words, _known(history), 0, len(catalogue.texts))
    return Resemblance(
        neighbours=neighbours,
        weights=weights,
        text_of_item=catalogue.text_of_item,
        unknown=_unknown(history.users, catalogue.text_of_item),
        fitted_until_ms=history.fitted_until_ms,
    )


def _known(history: ItemHistory) -> Int64[np.ndarray, " known"]:
    known = np.sort(np.argsort(-history.users, kind="stable")[:_MOST_KNOWN])
    found: Int64[np.ndarray, " known"] = known[history.users[known] >= FEWEST_USERS]
    return found


def _unknown(
    users: Float32[np.ndarray, " items"], text_of_item: Int32[np.ndarray, " items"]
) -> Int64[np.ndarray, " unknown"]:
    """The first item of every text among those that too few users had."""
    unknown = np.flatnonzero(users < FEWEST_USERS)
    _, first = np.unique(text_of_item[unknown], return_index=True)
    found: Int64[np.ndarray, " unknown"] = unknown[np.sort(first)]
    return found


def _nearest(
    words: VectorIndex, known: Int64[np.ndarray, " known"], first: int, num_texts: int
) -> tuple[Int32[np.ndarray, "texts neighbours"], Float32[np.ndarray, "texts neighbours"]]:
    """Of the texts from ``first`` on."""
    shape = num_texts - first, min(_NEIGHBOURS, len(known))
    neighbours, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    if all(shape):
        theirs, width = words.centred(known), shape[1]
        for start in range(0, shape[0], _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            texts = slice(first + start, min(first + start + _AT_ONCE, num_texts))
            cosine = words.centred_texts(texts) @ theirs.T
            best = np.argpartition(-cosine, width - 1, axis=1)[:, :width]
            odds = np.exp(_SHARPNESS * np.take_along_axis(cosine, best, axis=1))
            neighbours[rows], weights[rows] = known[best], odds / odds.sum(1, keepdims=True)
    return neighbours, weights
