"""How often items are chosen when they are shown, as far as few observations can tell."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_EVIDENCE = 20.0
"""Impressions that what an item's numbers let expect is worth."""
_RIDGE = 300.0
"""L2 penalty of that expectation, in impressions."""
_RANGE = (0.25, 4.0)
"""Bounds of that expectation, as multiples of the overall rate."""
_LOWEST, _HIGHEST = 1e-4, 0.95


@dataclass(frozen=True, eq=False)
class ClickRates:
    """Per catalogue position, from counts that are never forgotten."""

    impressions: Float64[np.ndarray, " items"]
    """Times shown."""
    expected: Float64[np.ndarray, " items"]
    """Rate that the item's numbers let expect, between 0 and 1."""
    rate: Float64[np.ndarray, " items"]
    """Engagements per impression, shrunk towards ``expected``; between 0 and 1."""
    overall: float
    """Engagements per impression of all items together."""


def fit_click_rates(
    impressions: Float64[np.ndarray, " items"],
    engaged: Float64[np.ndarray, " items"],
    numbers: Float64[np.ndarray, "items numbers"],
) -> ClickRates:
    """Rates of every item: observed where there is enough to observe, expected from its numbers elsewhere.

    The expectation is a ridge regression of the observed rates on the numbers, every impression counting
    once. With ``e`` the expectation, the rate is ``(engaged + 20 e) / (impressions + 20)``. What was engaged
    with more often than it was shown counts as always chosen.

    Args:
        impressions: Times each item was shown.
        engaged: Times each item was engaged with, whether from an impression or not.
        numbers: Standardised numbers of the items, see ``recsys.traits``.
    """
    engaged = np.minimum(engaged, impressions)
    overall = float(np.clip((engaged.sum() + 1.0) / (impressions.sum() + 5.0), _LOWEST, _HIGHEST))
    weighted = numbers * impressions[:, None]
    slopes = np.linalg.solve(
        weighted.T @ numbers + _RIDGE * np.eye(numbers.shape[1]),
        numbers.T @ (engaged - overall * impressions),
    )
    bounds = np.clip(np.multiply(_RANGE, overall), _LOWEST, _HIGHEST)
    expected = np.clip(overall + numbers @ slopes, *bounds)
    rate = (engaged + _EVIDENCE * expected) / (impressions + _EVIDENCE)
    return ClickRates(impressions, expected, rate.clip(_LOWEST, _HIGHEST), overall)
