"""Where scores stand within their list; a list's items lie along the last axis."""

import numpy as np
from jaxtyping import Float64

_ROUNDING = 1e-9


def standardised(scores: Float64[np.ndarray, "*columns items"]) -> Float64[np.ndarray, "*columns items"]:
    """Distance from the list's mean in standard deviations; 0 if all are equal, NaN where the score is."""
    missing = np.isnan(scores)
    known = np.where(missing, 0.0, scores)
    count = np.maximum(scores.shape[-1] - missing.sum(-1, keepdims=True), 1)
    distance = scores - known.sum(-1, keepdims=True) / count
    squares = np.where(missing, 0.0, distance) ** 2
    spread = np.sqrt(squares.sum(-1, keepdims=True) / count)
    is_spread = spread > _ROUNDING * np.abs(known).max(-1, keepdims=True, initial=0.0)
    found: Float64[np.ndarray, "*columns items"] = distance / np.where(is_spread, spread, np.inf)
    return found


def share_above(scores: Float64[np.ndarray, "*columns items"]) -> Float64[np.ndarray, "*columns items"]:
    """Share of the list with a greater score: 0 for the best, below 1; NaN where the score is.

    Scores that differ by less than a billionth from the next are equal.
    """
    columns = np.atleast_2d(scores)
    missing = np.isnan(columns)
    num_known, num_items = columns.shape[1] - missing.sum(1, keepdims=True), columns.shape[1]
    order = np.argsort(columns, axis=1)
    ascending = np.take_along_axis(columns, order, axis=1)  # missing ones come last
    places = np.arange(1, num_items + 1)
    is_last_equal = places == num_known
    lower = ascending[:, :-1]
    is_last_equal[:, :-1] |= ascending[:, 1:] > lower + _ROUNDING * np.abs(lower)
    last_equal = np.where(is_last_equal, places, num_items)
    last_equal = np.minimum.accumulate(last_equal[:, ::-1], axis=1)[:, ::-1]
    share = np.empty(columns.shape)
    np.put_along_axis(share, order, (num_known - last_equal) / np.maximum(num_known, 1), axis=1)
    share[missing] = np.nan
    return share.reshape(scores.shape)
