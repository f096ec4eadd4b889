"""What a policy would have earned, from a log of another one: estimators for one action per row.

With the reward ``r``, the weight ``w = target_propensity / logging_propensity``, and a reward model's value
of what was served, ``q_logged``, and of what the target would serve, ``q_target = sum_a target(a) q(a)``:

=========== ====================================== ========================================================
estimator   formula over n rows                    source
=========== ====================================== ========================================================
ips         ``mean(w r)``                          Horvitz and Thompson (1952)
clipped_ips ``mean(min(w, M) r)``                  Ionides (2008); biased towards 0, of less variance
snips       ``sum(w r) / sum(w)``                  Swaminathan and Joachims (2015), eq. 7
dm          ``mean(q_target)``                     Dudík, Langford and Li (2011), section 2.1
dr          ``mean(w (r - q_logged) + q_target)``  the same, eq. 1
=========== ====================================== ========================================================

Each is a ratio of two sums over rows, which is how ``recsys.experiments.resampling`` resamples them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

DEFAULT_CLIP = 10.0
"""Largest weight of ``clipped_ips`` unless another is asked for."""


@dataclass(frozen=True, eq=False)
class Ratio:
    """An estimate that is one sum over rows divided by another."""

    numerator: Float64[np.ndarray, " rows"]
    denominator: Float64[np.ndarray, " rows"]

    @property
    def estimate(self) -> float:
        """The ratio of the sums; NaN when the denominator's is 0."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total else float("nan")


@dataclass(frozen=True, eq=False)
class PolicyLog:
    """A log that was checked, see ``recsys.experiments.policy_log``."""

    reward: Float64[np.ndarray, " rows"]
    logging_propensity: Float64[np.ndarray, " rows"]
    """In (0, 1]."""
    target_propensity: Float64[np.ndarray, " rows"]
    """In [0, 1]."""
    cluster: Int64[np.ndarray, " rows"]
    """Whose row each is, from 0 without gaps; every row its own where users are not known."""
    q_logged: Float64[np.ndarray, " rows"] | None = None
    q_target: Float64[np.ndarray, " rows"] | None = None

    @property
    def weight(self) -> Float64[np.ndarray, " rows"]:
        """Importance weights."""
        weight: Float64[np.ndarray, " rows"] = self.target_propensity / self.logging_propensity
        return weight


def ips(log: PolicyLog) -> Ratio:
    """Inverse propensity scoring."""
    return mean_of(log.weight * log.reward)


def clipped_ips(log: PolicyLog, clip: float = DEFAULT_CLIP) -> Ratio:
    """Inverse propensity scoring with weights of at most ``clip``."""
    return mean_of(np.minimum(log.weight, clip) * log.reward)


def snips(log: PolicyLog) -> Ratio:
    """Self-normalised inverse propensity scoring."""
    return Ratio(log.weight * log.reward, log.weight)


def direct_method(log: PolicyLog) -> Ratio | None:
    """The reward model alone; ``None`` without one."""
    return None if log.q_target is None else mean_of(log.q_target)


def doubly_robust(log: PolicyLog) -> Ratio | None:
    """The reward model, corrected by the weighted residuals of what was served; ``None`` without one."""
    if log.q_logged is None or log.q_target is None:
        return None
    return mean_of(log.weight * (log.reward - log.q_logged) + log.q_target)


def estimators(log: PolicyLog, clip: float = DEFAULT_CLIP) -> dict[str, Ratio | None]:
    """Every estimator by its name in the report."""
    return {
        "ips": ips(log),
        "clipped_ips": clipped_ips(log, clip),
        "snips": snips(log),
        "dm": direct_method(log),
        "dr": doubly_robust(log),
    }


def mean_of(value: Float64[np.ndarray, " rows"]) -> Ratio:
    """A mean over rows as a ratio of sums."""
    return Ratio(value, np.ones_like(value))
