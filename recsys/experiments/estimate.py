"""What one arm achieves on one metric: a mean whose variance is known, also where the metric is a ratio.

Whatever the kind, the squared standard error of ``mean`` is ``variance / n``.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from recsys.experiments.metric import Kind
from recsys.experiments.moments import Moments

_ROUNDING = 1e-12
"""A variance below this share of the parts that it is the difference of is none."""


@dataclass(frozen=True)
class ArmEstimate:
    """One arm on one metric."""

    n: int
    mean: float
    """The mean, the proportion or the ratio, without covariates."""
    variance: float
    """Of one unit; exactly zero where nothing but rounding varies."""
    adjusted_mean: float
    """With covariates (CUPED); without any it equals ``mean``."""
    adjusted_variance: float
    adjusted_covariance: float
    """Of one unit's adjusted and plain value."""
    degrees_of_freedom: float
    """Of the variance; infinite for a plain proportion, whose variance follows from its mean."""

    @property
    def squared_error(self) -> float:
        """Squared standard error of ``adjusted_mean``."""
        return self.adjusted_variance / self.n


def estimate_arms(moments: dict[str, Moments], kind: Kind) -> dict[str, ArmEstimate]:
    """Estimate a metric in every arm.

    Args:
        moments: By arm. The columns are the value, or numerator and denominator for a ratio, then any
            number of covariates known before the exposure. No arm is empty; for a ratio, no arm's
            denominator sums to zero.
        kind: What is estimated.

    Returns:
        By arm. Adjusted by ``Y - theta (X - mean X)`` with theta and the mean of X over all arms together.

    Source: CUPED: Deng, Xu, Kohavi, Walker, WSDM 2013, equation 4. Ratio: the delta method of Deng, Knoblich,
    Lu, KDD 2018, section 2.2, with the unit as cluster; adjusted after linearising.
    """
    num_outcomes = 2 if kind == "ratio" else 1
    total = sum(moments.values(), start=_nothing_like(next(iter(moments.values()))))
    theta = _theta(total, num_outcomes, kind)
    center = total.mean[num_outcomes:]
    return {arm: _estimate(each, kind, theta, center) for arm, each in moments.items()}


def _estimate(
    moments: Moments,
    kind: Kind,
    theta: Float[np.ndarray, " covariates"],
    center: Float[np.ndarray, " covariates"],
) -> ArmEstimate:
    mean, gradient = _linearised(moments, kind)
    covariance = moments.covariance
    num_outcomes = len(gradient)
    outcomes = covariance[:num_outcomes, :num_outcomes]
    noise = _ROUNDING * float(np.abs(gradient) @ np.abs(outcomes) @ np.abs(gradient))
    variance = _above(noise, float(gradient @ outcomes @ gradient))
    is_plain_proportion = kind == "proportion" and not len(theta)
    if is_plain_proportion:
        variance = mean * (1 - mean)
    with_covariates = gradient @ covariance[:num_outcomes, num_outcomes:]
    shared = float(with_covariates @ theta)
    spread = float(theta @ covariance[num_outcomes:, num_outcomes:] @ theta)
    return ArmEstimate(
        n=moments.n,
        mean=mean,
        variance=variance,
        adjusted_mean=mean - float(theta @ (moments.mean[num_outcomes:] - center)),
        adjusted_variance=_above(noise, variance - 2 * shared + spread),
        adjusted_covariance=variance - shared,
        degrees_of_freedom=math.inf if is_plain_proportion else float(moments.n - 1),
    )


def _above(noise: float, variance: float) -> float:
    """A variance, unless it is what rounding left of its parts."""
    return variance if variance > noise else 0.0


def _theta(total: Moments, num_outcomes: int, kind: Kind) -> Float[np.ndarray, " covariates"]:
    """Coefficients of the covariates; zero for those that do not vary."""
    covariance = total.covariance
    spread = covariance[num_outcomes:, num_outcomes:]
    if not spread.size:
        return np.zeros(0)
    _, gradient = _linearised(total, kind)
    shared = gradient @ covariance[:num_outcomes, num_outcomes:]
    solved: Float[np.ndarray, " covariates"] = np.linalg.lstsq(spread, shared, rcond=1e-12)[0]
    return solved


def _linearised(moments: Moments, kind: Kind) -> tuple[float, Float[np.ndarray, " outcomes"]]:
    """The estimate and its derivative by the means of the outcomes."""
    if kind != "ratio":
        return float(moments.mean[0]), np.ones(1)
    numerator, denominator = (float(mean) for mean in moments.mean[:2])
    ratio = numerator / denominator
    return ratio, np.array([1.0, -ratio]) / denominator


def _nothing_like(moments: Moments) -> Moments:
    return Moments.of(np.zeros((len(moments.mean), 0)))
