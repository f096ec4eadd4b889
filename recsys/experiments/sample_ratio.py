"""Sample ratio mismatch: whether the arms have the units that the weights promised.

A mismatch says that assignment or logging is broken, and no result can be trusted: it blocks a verdict.
There are two tests of it. Pearson's holds for one look and is what a report shows; read again and again, it
calls more mismatches than its level says. The sequential one holds at all looks together, needs more units,
and is what ends an experiment without a person.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy import special, stats

ALARM = 0.001
"""P-value below which a mismatch is called, by either test."""
CONCENTRATION = 1_000.0
"""Units that the sequential test's prior is worth: shares of a half are off by 1.6 points, give or take."""


@dataclass(frozen=True)
class SampleRatio:
    """The outcome of the check."""

    chi2: float
    p_value: float
    """Of Pearson's test: holds for one look."""
    sequential_p_value: float
    """Holds at all looks together, however many there are."""

    @property
    def ok(self) -> bool:
        """Whether the counts agree with the weights, by the test for one look."""
        return self.p_value >= ALARM

    @property
    def surely_broken(self) -> bool:
        """Whether they disagree by the test that may be asked at any time."""
        return self.sequential_p_value < ALARM


def check_sample_ratio(units: Mapping[str, int], weights: Mapping[str, float]) -> SampleRatio:
    """Compare counts with configured weights.

    Args:
        units: Number of units by arm.
        weights: By arm, summing to 1; arms of weight zero do not count.

    Source: Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD 2019;
    Pearson's chi-square with one degree less than there are arms. For the other test see
    ``log_bayes_factor``.

    >>> check = check_sample_ratio({"a": 821_588, "b": 815_482}, {"a": 0.5, "b": 0.5})
    >>> f"{check.p_value:.2e}", check.ok
    ('1.82e-06', False)
    """
    arms = [arm for arm, weight in weights.items() if weight > 0]
    observed = np.array([units.get(arm, 0) for arm in arms], dtype=float)
    if len(arms) < 2 or not observed.sum():
        return SampleRatio(0.0, 1.0, 1.0)
    share = np.array([weights[arm] for arm in arms])
    share /= share.sum()
    tested = stats.chisquare(observed, observed.sum() * share)
    against = float(log_bayes_factor(observed, share))
    return SampleRatio(float(tested.statistic), float(tested.pvalue), min(1.0, math.exp(-max(against, 0.0))))


def log_bayes_factor(
    counts: Float64[np.ndarray, "*looks arms"],
    share: Float64[np.ndarray, " arms"],
    concentration: float = CONCENTRATION,
) -> Float64[np.ndarray, "*looks"]:
    """How much better arms of unknown shares explain the counts than the promised shares do.

    While units are assigned as promised, one after the other, its exponential is a martingale that starts
    at 1, so that it ever reaches 1 / alpha with probability alpha at most (Ville); that makes 1 over it a
    p-value at every look. It needs the present counts only, not those of earlier looks.

    Args:
        counts: Units by arm, at one look or at several.
        share: Promised, above 0 and summing to 1.
        concentration: Of the Dirichlet prior, whose mean is ``share``; above 0. It decides how soon which
            mismatch is found, never how often one is called that is none.

    Source: Lindon, Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022: the Bayes
    factor of the Dirichlet-multinomial with parameters alpha = concentration * share against
    Multinomial(share),
    Gamma(sum alpha) / Gamma(sum alpha + n) * prod_i Gamma(alpha_i + n_i) / Gamma(alpha_i) / share_i^n_i.
    """
    alpha = concentration * share
    whole = special.gammaln(concentration) - special.gammaln(concentration + counts.sum(axis=-1))
    by_arm = special.gammaln(alpha + counts) - special.gammaln(alpha) - counts * np.log(share)
    found: Float64[np.ndarray, "*looks"] = np.asarray(whole + by_arm.sum(axis=-1))
    return found
