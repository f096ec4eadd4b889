"""How an item's score stands among the scores of the list that is being ranked."""

import numpy as np
from jaxtyping import Float64

_ROUNDING = 1e-9
"""Relative difference below which two scores are equal."""


def standardised(scores: Float64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    """Distance from the list's mean in standard deviations; 0 if all are equal, NaN where the score is."""
    known = scores[~np.isnan(scores)]
    spread = known.std() if len(known) else 0.0
    if not spread > _ROUNDING * np.abs(known).max(initial=0.0):
        return np.where(np.isnan(scores), np.nan, 0.0)
    distance: Float64[np.ndarray, " items"] = (scores - known.mean()) / spread
    return distance


def share_above(scores: Float64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    """Share of the list with a greater score: 0 for the best, below 1; NaN where the score is."""
    known = np.sort(scores[~np.isnan(scores)])
    above = len(known) - np.searchsorted(known, scores + _ROUNDING * np.abs(scores), side="right")
    return np.where(np.isnan(scores), np.nan, above / max(len(known), 1))
