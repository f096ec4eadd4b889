"""Text interest: how well the item's words match what the user has been reading and buying.

Inputs: the encoder's vectors and the recent history. Available online. Standardised within the list that is
ranked.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from recsys.config import StateConfig
from recsys.moment import Moment

_NUM_RECENT = 5
_WORDS = "its description matches your interests"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        Feature("interest", "calibrated probability that the user engages with the item, 0 to 1", _WORDS),
        Feature(
            "interest_z", "interest similarity, standardised within the list; 0 if all are equal", _WORDS
        ),
        Feature(
            "recent_similarity",
            f"greatest similarity to the last {_NUM_RECENT} items, -1 to 1; NaN if none",
            "it is like something you had recently",
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    vectors = moment.parts.index.of_items(positions)
    similarity = (vectors @ moment.user_vector).astype(np.float64)
    spread = similarity.std() if len(similarity) else 0.0
    standardised = (similarity - similarity.mean()) / spread if spread > 0 else np.zeros(len(similarity))
    recent = moment.parts.index.of_items(moment.user.recent.positions[:_NUM_RECENT])
    nearest = (vectors @ recent.T).max(1) if len(recent) else np.full(len(positions), np.nan)
    return np.column_stack((moment.parts.calibration.probability(similarity), standardised, nearest))
