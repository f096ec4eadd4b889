"""Collaborative: what other people's histories say about this user and the item.

Inputs: the item-to-item tables and the user's history. Available online. Each score comes as it is and as it
stands within the list that is ranked.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from features.within_list import share_above, standardised
from recsys.config import StateConfig
from recsys.moment import Moment

_MEANINGS = {
    "together": (
        "sum of co-occurrence strengths with the recent items, each by its engagement; >= 0",
        "people buy it with what you buy",
    ),
    "following": (
        "sum of strengths as a follower of the latest items, each by its step; >= 0",
        "people take it after what you took",
    ),
    "ease": (
        "EASE score from the history, by engagement over the longest half-life; >= 0",
        "people who buy what you buy like it",
    ),
    "ease_recent": (
        "EASE score from the history, by engagement over the middle half-life; >= 0",
        "people who buy what you bought lately like it",
    ),
    "als": (
        "user factors times item factors, by engagement over the longest half-life; 0 if it has none",
        "people like you like it",
    ),
}


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    found = []
    for name, (meaning, words) in _MEANINGS.items():
        found += [
            Feature(name, meaning, words),
            Feature(f"{name}_z", f"{name}, standardised within the list; 0 if all are equal", words),
            Feature(f"{name}_above", f"share of the list with a greater {name}; 0 is the best", words),
        ]
    return tuple(found)


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    scores = (moment.together, moment.following, moment.ease, moment.ease_recent, moment.als)
    ours = np.stack([score.at(positions) for score in scores])
    by_score = np.stack((ours, standardised(ours), share_above(ours)), axis=1)
    return by_score.reshape(-1, len(positions)).T
