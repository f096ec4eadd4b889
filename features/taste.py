"""Taste: the user's liking for the item's category, spread over the category by what wins new users there.

Inputs: the user's history, the catalogue's categories and the bundle's adoption rates. Available online.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from features.within_list import share_above
from recsys.config import StateConfig
from recsys.moment import Moment

_WORDS = "it is a favourite of the kind you shop"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        Feature(
            "taste",
            "weighted events with its category, longest half-life, times its share of the category's first "
            "events; NaN if it has none",
            _WORDS,
        ),
        Feature("taste_above", "share of the list with a greater taste; 0 is the best", _WORDS),
        Feature("taste_parent", "the same for its parent category", _WORDS),
        Feature("taste_parent_above", "share of the list with a greater taste_parent; 0 is the best", _WORDS),
        Feature("adoption_share", "its share of its category's first events, middle half-life", _WORDS),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    category, parent = (moment.taste(name, positions) for name in ("category", "parent_category"))
    share = moment.parts.adoption_share("category")[positions]
    above = share_above(np.stack((category, parent)))
    return np.column_stack((category, above[0], parent, above[1], share))
