"""Importance weights: how a log is reweighted from the policy that served it to another, if it can bear it.

A weight is the target policy's propensity of what was served, divided by the logging policy's.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

MIN_EFFECTIVE_SAMPLE_SIZE = 1_000.0
MIN_COVERAGE = 0.8
MAX_STANDARD_ERRORS = 3.0
"""How far the mean weight may be from 1, in its standard errors."""


@dataclass(frozen=True)
class Diagnosis:
    """What the weights say about a log."""

    effective_sample_size: float
    """``(sum w)² / sum w²``: rows of an unweighted sample that would be as precise.

    Source: Kong (1992), *A note on importance sampling using standardized weights*."""
    max_weight: float
    mean_weight: float
    """1 in expectation, where the logged propensities are true."""
    mean_weight_std_error: float
    coverage: float
    """Share of the rows that the target policy could have served at all, 0 to 1."""

    def reasons(self) -> list[str]:
        """Why no verdict can be had from the log; empty when one can."""
        found = []
        if self.effective_sample_size < MIN_EFFECTIVE_SAMPLE_SIZE:
            found.append(
                f"the effective sample size is {self.effective_sample_size:,.1f}, expected at least "
                f"{MIN_EFFECTIVE_SAMPLE_SIZE:,.0f}; log more, or evaluate a policy nearer to the logged one"
            )
        if self.coverage < MIN_COVERAGE:
            found.append(
                f"the target policy could have served {self.coverage:.3f} of the rows, expected at least "
                f"{MIN_COVERAGE}; the log says too little about what it would serve"
            )
        off = abs(self.mean_weight - 1.0)
        if off > MAX_STANDARD_ERRORS * self.mean_weight_std_error + _ROUNDING:
            found.append(
                f"the mean weight is {self.mean_weight:.4f}, more than {MAX_STANDARD_ERRORS:.0f} standard "
                f"errors ({self.mean_weight_std_error:.4f}) from 1; these propensities did not serve"
            )
        return found


_ROUNDING = 1e-9  # weights that are all equal have no standard error, and need not sum to exactly 1


def diagnose(weight: Float64[np.ndarray, " rows"], cluster: Int64[np.ndarray, " rows"]) -> Diagnosis:
    """Describe the weights of a log.

    Args:
        weight: At least 0.
        cluster: Whose row each is, from 0 without gaps; the standard error treats a user's rows as dependent.
    """
    squares = float(np.square(weight).sum())
    mean = float(weight.mean())
    return Diagnosis(
        effective_sample_size=float(weight.sum()) ** 2 / squares if squares else 0.0,
        max_weight=float(weight.max()),
        mean_weight=mean,
        mean_weight_std_error=clustered_std_error(weight, cluster),
        coverage=float((weight > 0).mean()),
    )


def clustered_std_error(value: Float64[np.ndarray, " rows"], cluster: Int64[np.ndarray, " rows"]) -> float:
    """Standard error of a mean over rows of which those of one cluster depend on each other.

    ``sqrt(C / (C - 1) · sum_c (sum_{i in c} (v_i - mean))²) / n``; with one row per cluster that is the usual
    one. Infinite with fewer than two clusters.
    """
    residual = np.bincount(cluster, weights=value - value.mean())
    num_clusters = len(residual)
    if num_clusters < 2:
        return float("inf")
    return float(np.sqrt(num_clusters / (num_clusters - 1) * np.square(residual).sum()) / len(value))
