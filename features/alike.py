"""Alike: what behaviour says of the items that read like an item, for those it says nothing of yet.

Inputs: the collaborative scores, adoption and popularity of the known items with the nearest pretrained
vectors. Available online. An item's own scores are left out.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from features.within_list import standardised
from recsys.config import StateConfig
from recsys.moment import Moment

_PERSONAL = "it is like what people with your taste take"
_COMMON = "things like it are in demand"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    found = []
    for name in ("following", "ease", "als"):
        mean = f"alike_{name}"
        found += [
            Feature(mean, f"mean {name} of the known items that it reads like", _PERSONAL),
            Feature(f"{mean}_z", f"{mean}, standardised within the list; 0 if all are equal", _PERSONAL),
        ]
    return (
        *found,
        Feature("alike_adoption", "their mean adoption, middle half-life", _COMMON),
        Feature("alike_item", "their mean popularity, middle half-life", _COMMON),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    tables, middle = moment.parts.tables, moment.parts.config.state.middle
    alike = moment.resemblance(positions)
    means = np.stack([alike.mean(score.at) for score in (moment.following, moment.ease, moment.als)])
    standing = np.stack((means, standardised(means)), axis=1).reshape(-1, len(positions))
    adoption, engagement = tables.history.adoption[middle], moment.popularity.engagement[middle]
    return np.vstack((standing, alike.mean(adoption.take), alike.mean(engagement.take))).T
