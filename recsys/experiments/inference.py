"""From a difference to what may be said about it: critical values and p-values by the definition's method."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from scipy import stats

from recsys.experiments import always_valid, group_sequential
from recsys.experiments.definition import Analysis
from recsys.experiments.difference import Difference
from recsys.experiments.reading import Reading, reading_of


@runtime_checkable
class Inference(Protocol):
    """A method, ready for one comparison."""

    def critical(self, difference: Difference) -> float:
        """Half width of the two-sided interval, in standard errors."""
        ...

    def one_sided(self, difference: Difference) -> float:
        """Distance of a one-sided bound from the estimate, in standard errors."""
        ...

    def p_value(self, difference: Difference) -> float:
        """Two-sided, of no difference."""
        ...


@dataclass(frozen=True)
class FixedHorizon:
    """Holds for one look, at a size that was fixed before."""

    alpha: float

    def critical(self, difference: Difference) -> float:
        """Student's t; the normal quantile where degrees of freedom are infinite."""
        return float(stats.t.isf(self.alpha / 2, difference.degrees_of_freedom))

    def one_sided(self, difference: Difference) -> float:
        """As ``critical``, with all of alpha on one side."""
        return float(stats.t.isf(self.alpha, difference.degrees_of_freedom))

    def p_value(self, difference: Difference) -> float:
        """Welch's test."""
        return float(2 * stats.t.sf(abs(difference.z), difference.degrees_of_freedom))


@dataclass(frozen=True)
class AlwaysValid:
    """Holds at all looks together."""

    alpha: float
    expected_units: float
    """Of both arms, where intervals are narrowest."""

    def critical(self, difference: Difference) -> float:
        """See ``always_valid.critical_value``."""
        rho = always_valid.mixture_scale(self.alpha, self.expected_units)
        return float(always_valid.critical_value(difference.n, self.alpha, rho))

    def one_sided(self, difference: Difference) -> float:
        """See ``always_valid.one_sided_critical_value``."""
        rho = always_valid.mixture_scale(2 * min(self.alpha, 0.499), self.expected_units)
        return float(always_valid.one_sided_critical_value(difference.n, self.alpha, rho))

    def p_value(self, difference: Difference) -> float:
        """See ``always_valid.p_value``."""
        rho = always_valid.mixture_scale(self.alpha, self.expected_units)
        return float(always_valid.p_value(difference.z, difference.n, rho))


@dataclass(frozen=True)
class GroupSequential:
    """Holds at the planned looks together."""

    alpha: float
    fractions: tuple[float, ...]
    """Looks so far, as shares of the planned units that were really reached; the present one is the last."""
    spending: group_sequential.Spending

    def critical(self, difference: Difference) -> float:  # noqa: ARG002  # depends on the look alone
        """The bound of the present look: a repeated confidence interval."""
        return group_sequential.bounds(self.fractions, self.alpha, self.spending)[-1]

    def one_sided(self, difference: Difference) -> float:
        """As ``critical``: half of alpha on this side, which errs on the safe one."""
        return self.critical(difference)

    def p_value(self, difference: Difference) -> float:
        """The repeated p-value."""
        return group_sequential.p_value(difference.z, self.fractions, self.spending)


def inference_for(
    analysis: Analysis, num_units: int, share: float, reading: Reading | None = None
) -> Inference:
    """The definition's method for one comparison.

    Args:
        analysis: From the definition.
        num_units: Units of all arms so far.
        share: Summed weights of the two arms that are compared.
        reading: Which look it is; ``None`` for as if nobody knew of earlier ones.

    Returns:
        Between the looks of ``group_sequential``, what holds at any time.
    """
    if analysis.method == "always_valid":
        return watching(analysis, share)
    if analysis.method == "group_sequential":
        fractions = (reading or reading_of(analysis, num_units)).fractions
        if not fractions:
            return watching(analysis, share)
        return GroupSequential(analysis.alpha, fractions, analysis.spending)
    return FixedHorizon(analysis.alpha)


def watching(analysis: Analysis, share: float) -> AlwaysValid:
    """What guardrails are watched with at any time, whatever the method of the decision."""
    expected = analysis.expected_units or always_valid.DEFAULT_EXPECTED_UNITS
    return AlwaysValid(analysis.alpha, max(expected * share, 1.0))


def is_final(analysis: Analysis, num_units: int) -> bool:
    """Whether the planned size is reached; never where there is no plan."""
    return num_units >= (analysis.expected_units or math.inf)
