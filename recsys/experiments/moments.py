"""Sufficient statistics: all that a comparison of arms needs to know of the units in them.

Moments of disjoint groups add up, so that one pass over the data serves the whole, every day and every segment.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Moments:
    """Number, means and co-moments of some columns over a group of units."""

    n: int
    mean: Float[np.ndarray, " columns"]
    comoment: Float[np.ndarray, "columns columns"]
    """Sums of products of deviations from the means; over n - 1 they are covariances."""

    @classmethod
    def of(cls, values: Float[np.ndarray, "columns units"]) -> Self:
        """Moments of finite values, in two passes, which loses no digits where the mean is large."""
        num_columns, n = values.shape
        if n == 0:
            return cls(0, np.zeros(num_columns), np.zeros((num_columns, num_columns)))
        mean = values.mean(axis=1)
        deviation = values - mean[:, None]
        return cls(n, mean, deviation @ deviation.T)

    def __add__(self, other: Self) -> Self:
        """Moments of both groups together.

        Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979, equation 2.1, for several columns.
        """
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.n / n)
        comoment = self.comoment + other.comoment + np.outer(apart, apart) * (self.n * other.n / n)
        return type(self)(n, mean, comoment)

    @property
    def covariance(self) -> Float[np.ndarray, "columns columns"]:
        """Sample covariances, with n - 1; zeros when there are fewer than two units."""
        return self.comoment / max(self.n - 1, 1)
