"""Standing: where the item stands within its list by what the user and everybody did with it.

Inputs: the user's decayed engagement, the item aggregates as of the last completed tick and the bundle's
adoption rates. Available online. A sum means less than its place: a heavy user's tenth item outweighs a light
user's first.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from features.user_item import find
from features.within_list import share_above
from recsys.config import StateConfig
from recsys.moment import Moment

_OWN = "it is among what you take most"
_COMMON = "it is among what people take most"
_NEW = "it is among what people try first"


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    found = []
    for name, meaning, words in (
        ("user_item", "user's decayed sum", _OWN),
        ("item", "sum of everybody", _COMMON),
        ("adoption", "adoption", _NEW),
    ):
        for h in config.half_lives_days:
            told = f"share of the list with a greater {meaning}, half-life {h:g} days; 0 is the best"
            found.append(Feature(f"{name}_{days(h)}_above", told, words))
    return (
        *found,
        Feature(
            "user_item_recency_above",
            "share of the user's items in the list that the user had later; NaN if never had",
            "you had it lately",
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    user = moment.user
    own = np.zeros((len(positions), user.engagement.shape[1]))
    last = np.full(len(positions), np.nan)
    held, at = find(user.positions, positions)
    own[held], last[held] = user.engagement[at[held]], user.last_ms[at[held]]
    adoption = moment.parts.tables.history.adoption[:, positions]
    sums = np.vstack((own.T, moment.popularity.engagement[:, positions], adoption, last))
    return share_above(sums).T
