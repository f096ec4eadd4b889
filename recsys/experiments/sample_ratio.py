"""Sample ratio mismatch: whether the arms have the units that the weights promised.

A mismatch says that assignment or logging is broken, and no result can be trusted: it blocks a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

ALARM = 0.001
"""P-value below which a mismatch is called."""


@dataclass(frozen=True)
class SampleRatio:
    """The outcome of the check."""

    chi2: float
    p_value: float

    @property
    def ok(self) -> bool:
        """Whether the counts agree with the weights."""
        return self.p_value >= ALARM


def check_sample_ratio(units: Mapping[str, int], weights: Mapping[str, float]) -> SampleRatio:
    """Compare counts with configured weights.

    Args:
        units: Number of units by arm.
        weights: By arm, summing to 1; arms of weight zero do not count.

    Source: Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD 2019;
    Pearson's chi-square with one degree less than there are arms.

    >>> check = check_sample_ratio({"a": 821_588, "b": 815_482}, {"a": 0.5, "b": 0.5})
    >>> f"{check.p_value:.2e}", check.ok
    ('1.82e-06', False)
    """
    arms = [arm for arm, weight in weights.items() if weight > 0]
    observed = np.array([units.get(arm, 0) for arm in arms], dtype=float)
    if len(arms) < 2 or not observed.sum():
        return SampleRatio(0.0, 1.0)
    share = np.array([weights[arm] for arm in arms])
    tested = stats.chisquare(observed, observed.sum() * share / share.sum())
    return SampleRatio(float(tested.statistic), float(tested.pvalue))
