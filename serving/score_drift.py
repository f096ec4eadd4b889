"""Whether a model's scores still look as they did: the best ones of recent answers beside those of the first.

A raw margin means nothing by itself, but its distribution over many answers is steady as long as shoppers,
catalogue and features are. The measure is a standardised difference of means,
``(recent mean - first mean) / first standard deviation``; below 0.25 little has changed, above 1 look closer.
"""

import math

_NUM_FIRST = 1000  # answers that set the standard
_RECENT = 1 / 1000  # weight of one answer in the recent mean, so that about the last 1000 count


class ScoreDrift:
    """Follows one stream of scores in constant memory."""

    __slots__ = ("_squares", "mean", "num_scores", "recent_mean")

    def __init__(self) -> None:
        self.num_scores = 0
        self.mean = 0.0
        """Mean of the first scores."""
        self.recent_mean = 0.0
        """Exponentially weighted mean of all scores; starts as that of the first."""
        self._squares = 0.0

    def add(self, score: float) -> None:
        """Take a score in.

        Source: Welford, "Note on a method for calculating corrected sums of squares", 1962.
        """
        if self.num_scores < _NUM_FIRST:
            self.num_scores += 1
            before = score - self.mean
            self.mean += before / self.num_scores
            self._squares += before * (score - self.mean)
            self.recent_mean = self.mean
        else:
            self.recent_mean += (score - self.recent_mean) * _RECENT

    @property
    def deviation(self) -> float:
        """Standard deviation of the first scores; 0 for fewer than two."""
        return math.sqrt(self._squares / (self.num_scores - 1)) if self.num_scores > 1 else 0.0

    @property
    def drift(self) -> float:
        """Standardised difference of the recent mean; 0 until the first scores are in, or all are equal."""
        deviation = self.deviation
        return (self.recent_mean - self.mean) / deviation if deviation > 0 else 0.0
