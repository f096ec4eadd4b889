"""Sufficient statistics: all that a comparison of arms needs to know of the units in them.

Moments of disjoint groups add up, so that one pass over the data serves the whole and every day.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Values apart by less than this share of the largest are one value, written with rounding."""


@dataclass(frozen=True)
class Moments:
    """Number, means and co-moments of some columns over a group of units."""

    n: int
    mean: Float[np.ndarray, " columns"]
    comoment: Float[np.ndarray, "columns columns"]
    """Sums of products of deviations from the means; over n - 1 they are covariances."""

    @staticmethod
    def of(values: Float[np.ndarray, "columns units"]) -> "Moments":
        """Moments of finite values, in two passes, which loses no digits where the mean is large.

        A column that is the same for every unit has exactly no co-moments: rounding must not look like a
        variance, against which any difference would be large.
        """
        num_columns, n = values.shape
        if n == 0:
            return Moments(0, np.zeros(num_columns), np.zeros((num_columns, num_columns)))
        varies = np.ptp(values, axis=1) > _ROUNDING * np.abs(values).max(axis=1)
        mean = np.where(varies, values.mean(axis=1), values[:, 0])
        deviation = (values - mean[:, None]) * varies[:, None]
        return Moments(n, mean, deviation @ deviation.T)

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both groups together.

        Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979, equation 2.1, for several columns.
        """
        n = self.n + other.n
        if n == 0:
            return self
        apart = other.mean - self.mean
        apart[np.abs(apart) <= _ROUNDING * np.maximum(np.abs(self.mean), np.abs(other.mean))] = 0.0
        mean = self.mean + apart * (other.n / n)
        comoment = self.comoment + other.comoment + np.outer(apart, apart) * (self.n * other.n / n)
        return Moments(n, mean, comoment)

    @property
    def covariance(self) -> Float[np.ndarray, "columns columns"]:
        """Sample covariances, with n - 1; zeros when there are fewer than two units."""
        return self.comoment / max(self.n - 1, 1)
