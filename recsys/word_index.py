"""Which texts have which words: an inverted index, so that a brand or a model number is found."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from scipy import sparse

_WORD = re.compile(r"[^\W_]+")
_K1, _B = 1.2, 0.5
_PREFIX_SHARE, _SHORTEST_PREFIX = 0.5, 3
_LAST = "\U0010ffff"


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, in lower case.

    >>> words_of("Sony WH-1000XM4, black")
    ['sony', 'wh', '1000xm4', 'black']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True, eq=False)
class Matches:
    """How well texts have the words of a query."""

    scores: Float64[np.ndarray, " texts"]
    """0 or more, larger is better."""
    num_found: Int64[np.ndarray, " texts"]
    """How many of the query's words each text has."""
    num_known: int
    """How many of the query's words any text has."""
    num_words: int
    """How many distinct words the query has."""


@dataclass(frozen=True, eq=False)
class WordIndex:
    """Postings of every word, in alphabetical order: all words with one prefix are one run of them.

    Texts that come later have an index of their own beside it, so that the first one need not be made again.
    """

    num_first: int
    """Texts in the postings."""
    vocabulary: Sequence[str]
    """Distinct words, ascending."""
    starts: Int64[np.ndarray, " words_and_one"]
    """Where the postings of each word begin; one more at the end."""
    texts: Int32[np.ndarray, " postings"]
    """Positions of the texts that have the word, ascending within it."""
    weights: Float32[np.ndarray, " postings"]
    """What the word weighs in each, but for its rarity."""
    mean_length: float
    """Words of a text, on average, at least 1; later texts are as long as they are beside it too."""
    later_texts: tuple[str, ...] = ()
    later: "WordIndex | None" = None
    """Of ``later_texts``."""

    @classmethod
    def of(cls, texts: Sequence[str], mean_length: float | None = None) -> "WordIndex":
        """Read some texts; their positions are what ``matches`` answers with.

        Args:
            texts: The texts.
            mean_length: What a text's length is measured by; their own mean when absent.
        """
        words = [words_of(text) for text in texts]
        vocabulary = sorted({word for row in words for word in row})
        codes = {word: code for code, word in enumerate(vocabulary)}
        lengths = np.asarray([len(row) for row in words], np.int64)
        column = np.fromiter((codes[word] for row in words for word in row), np.int64, int(lengths.sum()))
        counts = sparse.csc_array(
            (np.ones(len(column)), (np.repeat(np.arange(len(texts)), lengths), column)),
            shape=(len(texts), len(vocabulary)),
        )
        counts.sum_duplicates()
        mean = mean_length or max(float(lengths.mean()) if len(texts) else 0.0, 1.0)
        saturation = _K1 * (1 - _B + _B * (lengths / mean)[counts.indices])
        weights = (counts.data * (_K1 + 1) / (counts.data + saturation)).astype(np.float32)
        starts, found = counts.indptr.astype(np.int64), counts.indices.astype(np.int32)
        return cls(len(texts), vocabulary, starts, found, weights, mean)

    def extended(self, texts: Sequence[str]) -> "WordIndex":
        """The index with later texts behind all others."""
        later = (*self.later_texts, *texts)
        return replace(self, later_texts=later, later=WordIndex.of(later, self.mean_length))

    @property
    def num_texts(self) -> int:
        """Texts in all."""
        return self.num_first + len(self.later_texts)

    def matches(self, query: str) -> Matches:
        """How well every text has the words of a query.

        A word counts where it stands, or half where it begins another one, if it has 3 letters. Its weight
        falls with the share of the texts that have it:
        ``idf * tf (k1 + 1) / (tf + k1 (1 - b + b |d| / mean |d|))``, k1 1.2, b 0.5.

        Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, eq.
            3.15. Deviations: an idf that is never negative, prefixes, and a word of a query counts once.
        """
        scores, found = np.zeros(self.num_texts), np.zeros(self.num_texts, np.int64)
        num_known = 0
        words = list(dict.fromkeys(words_of(query)))
        for word in words:
            of_word = self._of_word(word)
            scores += of_word
            found += of_word > 0
            num_known += bool(of_word.any())
        return Matches(scores, found, num_known, len(words))

    def _of_word(self, word: str) -> Float64[np.ndarray, " texts"]:
        scores = np.zeros(self.num_texts)
        self._put(word, scores[: self.num_first])
        if self.later is not None:
            self.later._put(word, scores[self.num_first :])
        having = np.count_nonzero(scores)
        rarity = np.log(1 + (self.num_texts - having + 0.5) / (having + 0.5))
        weighed: Float64[np.ndarray, " texts"] = scores * rarity
        return weighed

    def _put(self, word: str, scores: Float64[np.ndarray, " texts"]) -> None:
        """Write what a word weighs in each text over zeros."""
        first = bisect_left(self.vocabulary, word)
        after = bisect_left(self.vocabulary, word + "\0")
        last = bisect_left(self.vocabulary, word + _LAST) if len(word) >= _SHORTEST_PREFIX else after
        start, exact_end, end = self.starts[first], self.starts[after], self.starts[last]
        np.maximum.at(scores, self.texts[exact_end:end], _PREFIX_SHARE * self.weights[exact_end:end])
        exact = self.texts[start:exact_end]
        scores[exact] = np.maximum(scores[exact], self.weights[start:exact_end])
