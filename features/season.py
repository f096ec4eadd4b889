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
    engagement, catalogue = moment.item_engagement, moment.parts.catalogue
    sums = engagement[[min(1, len(engagement) - 1), -1]].clip(min=0)
    recent, whole = sums.sum(1)
    usual = recent / whole if whole > 0 else 1.0
    columns = []
    for name in ATTRIBUTE_NAMES:
        codes = catalogue.attribute_codes[name]
        known, size = codes >= 0, catalogue.num_attribute_values[name] + 1
        theirs = [np.bincount(codes[known], sum_[known], minlength=size) for sum_ in sums]
        wanted = codes[positions]
        columns.append(np.where(wanted < 0, np.nan, _ratio(theirs[0][wanted], theirs[1][wanted], usual)))
    alike = moment.parts.tables.resemblance.of_items(positions, tuple(sums))
    columns.append(_ratio(alike[:, 0], alike[:, 1], usual))
    return np.column_stack(columns)


def _ratio(
    recent: Float64[np.ndarray, " items"], whole: Float64[np.ndarray, " items"], usual: float
) -> Float64[np.ndarray, " items"]:
    out = np.full(len(whole), np.nan)
    found: Float64[np.ndarray, " items"] = np.divide(recent, whole * usual, out=out, where=whole * usual > 0)
    return found
