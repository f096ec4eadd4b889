"""Intervals of estimates by drawing users again and again: the bootstrap, clustered.

Rows of one user are drawn together, since they depend on each other: over rows it would be too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from recsys.experiments.off_policy import Ratio

REPLICATES = 1_000
LEVEL = 0.95
_MOST_CLUSTERS = 20_000


@dataclass(frozen=True)
class Interval:
    """An estimate between its 2.5 % and 97.5 % bootstrap quantiles."""

    estimate: float
    low: float
    high: float


def replicates(
    ratios: Sequence[Ratio], cluster: Int64[np.ndarray, " rows"], *, seed: int = 0, num: int = REPLICATES
) -> Float64[np.ndarray, "replicates ratios"]:
    """Estimates from samples of as many clusters, drawn with replacement, the same ones for every ratio.

    A sample in which a denominator sums to 0 gives NaN. Of more than 20,000 clusters, those whose numbers
    agree modulo 20,000 are drawn together: as valid, since clusters are independent, and no slower.

    Args:
        ratios: What is estimated.
        cluster: Cluster of each row, from 0 without gaps.
        seed: Equal seeds draw equally.
        num: How many samples.

    Source: Davison and Hinkley (1997), *Bootstrap Methods*, section 3.8, strategy 1 (whole clusters).
    """
    drawn_together = cluster % _MOST_CLUSTERS
    sums = np.stack(
        [
            np.bincount(drawn_together, weights=part)
            for ratio in ratios
            for part in (ratio.numerator, ratio.denominator)
        ]
    )
    num_clusters = sums.shape[1]
    random = np.random.default_rng(seed)
    drawn = np.empty((num, len(sums)))
    for row in drawn:
        times = np.bincount(random.integers(num_clusters, size=num_clusters), minlength=num_clusters)
        row[:] = sums @ times
    numerator, denominator = drawn[:, 0::2], drawn[:, 1::2]
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Float64[np.ndarray, "replicates ratios"] = np.where(
            denominator == 0, np.nan, numerator / denominator
        )
    return found


def interval(estimate: float, drawn: Float64[np.ndarray, " replicates"]) -> Interval:
    """The percentile interval of an estimate from its replicates; NaN ones are left out."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high))


def intervals(
    ratios: dict[str, Ratio], cluster: Int64[np.ndarray, " rows"], *, seed: int = 0
) -> dict[str, Interval]:
    """Every ratio's interval, by its name."""
    drawn = replicates(list(ratios.values()), cluster, seed=seed)
    return {name: interval(ratio.estimate, drawn[:, at]) for at, (name, ratio) in enumerate(ratios.items())}
