"""Season: whether what is like the item is on the rise, by category, parent category, brand and words.

Inputs: the item aggregates as of the last completed tick, the catalogue's attributes, and the known items
that the item reads like. Available online. An item's own trend is noise where it is rarely taken; its kind's
is not.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from recsys.catalogue import ATTRIBUTE_NAMES
from recsys.config import StateConfig
from recsys.moment import Moment

_WORDS = "things like it are on the rise"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    meaning = "over the longest half-life's, against the same of the whole shop; 1 is as ever, NaN if none"
    return (
        *(
            Feature(f"{name}_rise", f"events with its {name}, second half-life's sum {meaning}", _WORDS)
            for name in ATTRIBUTE_NAMES
        ),
        Feature(
            "alike_rise", f"events of the items that it reads like, second half-life's sum {meaning}", _WORDS
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    popularity, catalogue = moment.popularity, moment.parts.catalogue
    columns = [
        popularity.attribute_rises[name][catalogue.attribute_codes[name][positions]]
        for name in ATTRIBUTE_NAMES
    ]
    alike = moment.resemblance(positions)
    recent, whole = (alike.mean(sums.take) for sums in popularity.recent_and_whole)
    return np.column_stack((*columns, popularity.rise(recent, whole)))
