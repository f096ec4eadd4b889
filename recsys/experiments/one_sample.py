"""Whether a mean over users differs from zero, by the definition's method and its plan.

A test with a planned number of users is Student's and decides there; any other may be read whenever one
likes, so it is a sequence that holds at all looks together.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from recsys.experiments.always_valid import MIN_UNITS
from recsys.experiments.definition import Analysis
from recsys.experiments.difference import Difference
from recsys.experiments.inference import Inference, inference_for, is_final, watching
from recsys.experiments.moments import Moments

_MIN_TESTED = 2  # below it there is no variance


@dataclass(frozen=True)
class OneSample:
    """What one value per user says."""

    mean: float
    std_error: float
    """Infinite with fewer than two users."""
    low: float
    """With ``high`` the confidence interval of ``mean`` at ``1 - alpha``."""
    high: float
    p_value: float
    """Two-sided; 1 where nothing varies between users."""
    undecided: str
    """Why there is no verdict; empty where ``mean`` differs from zero."""


def one_sample(values: Float[np.ndarray, " users"], analysis: Analysis) -> OneSample:
    """Test the mean of one value per user.

    Args:
        values: Finite; none for nobody.
        analysis: The definition's; its ``expected_units`` are users. ``group_sequential`` is read as between
            its looks, for nobody keeps a book here.
    """
    test = _difference(values)
    half, p_value = test.std_error, 1.0
    if test.n >= _MIN_TESTED and test.std_error:
        inference = _inference(analysis)
        half, p_value = inference.critical(test) * test.std_error, inference.p_value(test)
    return OneSample(
        mean=test.estimate,
        std_error=test.std_error,
        low=test.estimate - half,
        high=test.estimate + half,
        p_value=p_value,
        undecided=_undecided(analysis, test, p_value),
    )


def is_planned(analysis: Analysis) -> bool:
    """Whether the test is read once, at ``expected_units``."""
    return analysis.method == "fixed" and analysis.expected_units is not None


def _difference(values: Float[np.ndarray, " users"]) -> Difference:
    """The mean over users as a difference from nothing."""
    n = len(values)
    if n < _MIN_TESTED:
        return Difference(float(values.mean()) if n else 0.0, math.inf, 1.0, n, 0.0, 0.0, 0.0)
    moments = Moments.of(values[None, :])
    error = math.sqrt(float(moments.covariance[0, 0]) / n)
    return Difference(float(moments.mean[0]), error, n - 1.0, n, 0.0, 0.0, 0.0)


def _inference(analysis: Analysis) -> Inference:
    if is_planned(analysis):
        return inference_for(analysis, analysis.expected_units or 0, 1.0)
    return watching(analysis, 1.0)


def _undecided(analysis: Analysis, test: Difference, p_value: float) -> str:
    planned = analysis.expected_units
    if test.n < MIN_UNITS:
        return f"fewer than {MIN_UNITS} users"
    if is_planned(analysis) and not is_final(analysis, test.n):
        return f"{test.n:,} of {planned:,} planned users; method 'fixed' decides once, at the end"
    if not test.std_error:
        return "all users are alike, so nothing can be tested"
    return "" if p_value < analysis.alpha else "no difference found so far"
