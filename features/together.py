"""Together: how strongly the item goes with what the user had recently.

Inputs: the co-occurrence table and the recent history. Available online. Standardised within the list that is
ranked.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from recsys.config import StateConfig
from recsys.moment import Moment

_WORDS = "people buy it with what you buy"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        Feature(
            "together",
            "sum of co-occurrence strengths with the recent items, each by its engagement; >= 0",
            _WORDS,
        ),
        Feature("together_z", "the same, standardised within the list; 0 if all are equal", _WORDS),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    targets, scores = moment.co_occurrence
    strength = np.zeros(len(positions))
    if len(targets):
        at = np.minimum(np.searchsorted(targets, positions), len(targets) - 1)
        strength = np.where(targets[at] == positions, scores[at], 0.0)
    spread = strength.std() if len(strength) else 0.0
    standardised = (strength - strength.mean()) / spread if spread > 0 else np.zeros(len(strength))
    return np.column_stack((strength, standardised))
