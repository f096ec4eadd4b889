"""Text interest: how well the item's words match what the user has been reading and buying.

Inputs: the tuned and the pretrained encoder's vectors, and the recent history. Available online. Some come as
they stand within the list that is ranked. The pretrained vectors keep the place of words that the training
never saw, so they speak for items without history.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from features.within_list import share_above, standardised
from recsys.config import StateConfig
from recsys.moment import Moment

_NUM_RECENT = 5
_NUM_WORDS = 10
_WORDS = "its description matches your interests"
_RECENT = "it is like something you had recently"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        Feature("interest", "calibrated probability that the user engages with the item, 0 to 1", _WORDS),
        Feature(
            "interest_z", "interest similarity, standardised within the list; 0 if all are equal", _WORDS
        ),
        Feature("interest_above", "share of the list with a greater interest; 0 is the best", _WORDS),
        Feature(
            "recent_similarity",
            f"greatest similarity to the last {_NUM_RECENT} items, -1 to 1; NaN if none",
            _RECENT,
        ),
        Feature("last_similarity", "similarity to the last item, -1 to 1; NaN if none", _RECENT),
        Feature(
            "words_mean",
            f"pretrained similarity to the mean of the last {_NUM_WORDS} items, -1 to 1; NaN if none",
            _WORDS,
        ),
        Feature("words_mean_z", "the same, standardised within the list; 0 if all are equal", _WORDS),
        Feature(
            "words_greatest",
            f"greatest pretrained similarity to the last {_NUM_WORDS} items, -1 to 1; NaN if none",
            _RECENT,
        ),
        Feature("words_greatest_z", "the same, standardised within the list; 0 if all are equal", _RECENT),
        Feature(
            "words_lately", f"pretrained similarity to the mean of the last {_NUM_RECENT} items", _RECENT
        ),
        Feature("words_lately_z", "the same, standardised within the list; 0 if all are equal", _RECENT),
        Feature("words_last", "pretrained similarity to the last item, -1 to 1; NaN if none", _RECENT),
        Feature("words_last_z", "the same, standardised within the list; 0 if all are equal", _RECENT),
        Feature(
            "interest_gap", "greatest interest similarity of the list less its own; 0 is the best", _WORDS
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    parts, recent = moment.parts, moment.user.recent.positions
    tuned = np.vstack((moment.user_vector, parts.index.of_items(recent[:_NUM_RECENT])))
    similar = parts.index.similarities(positions, tuned).T
    interest, near = similar[0], _or_nan(similar[1:])
    words = _or_nan(parts.words.similarities(positions, parts.words.of_items(recent[:_NUM_WORDS])).T)
    mean, greatest, lately, last = words.mean(0), words.max(0), words[:_NUM_RECENT].mean(0), words[0]
    z = standardised(np.stack((interest, mean, greatest, lately, last)))
    found: Float64[np.ndarray, "features items"] = np.stack(
        (
            parts.calibration.probability(interest),
            z[0],
            share_above(interest),
            near.max(0),
            near[0],
            mean,
            z[1],
            greatest,
            z[2],
            lately,
            z[3],
            last,
            z[4],
            interest.max(initial=-1.0) - interest,
        )
    )
    return found.T


def _or_nan(similarities: Float64[np.ndarray, "recent items"]) -> Float64[np.ndarray, "rows items"]:
    """Similarities to the recent items; one row of NaN when there are none."""
    return similarities if len(similarities) else np.full((1, similarities.shape[1]), np.nan)
