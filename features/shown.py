"""Shown: how often the item is chosen when it is shown, and what this user chooses from the lists.

Inputs: impressions and engagements, of everybody as counts until the last completed tick and of the user from
the own rows; the catalogue's words and numbers; the pretrained vectors. Available online. Some come as they
stand within the list that is ranked. Where nothing was ever shown, all are NaN.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from features.within_list import share_above, standardised
from recsys.config import StateConfig
from recsys.leaning import RATE_WEIGHT, log_odds
from recsys.moment import Moment

LIST_POSITION = "list_position"
"""The feature that a caller may give, see ``ranker.position``."""
_EVIDENCE = 5.0
"""Impressions that the overall click rate is worth beside the user's own."""
_OFTEN = "people choose it when they see it"
_LEANING = "it is like what you chose before"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        Feature("shown_rate", "share of its impressions that it was chosen at, shrunk; 0 to 1", _OFTEN),
        *_within_list("shown_rate", _OFTEN),
        Feature("shown_expected", "the share that its numbers in the catalogue let expect, 0 to 1", _OFTEN),
        Feature("shown_count", "impressions of everybody", _OFTEN),
        Feature(
            "user_shown_count", "impressions of the user, of the last 200 items", "you look around a lot"
        ),
        Feature("user_shown_rate", "share of these that the user chose, shrunk; 0 to 1", "you choose often"),
        Feature("user_item_shown", "times that the user was shown the item", "you saw it before"),
        Feature("user_item_chosen", "times that the user chose it then", "you chose it before"),
        Feature("leaning_words", "leaning to it by shared tags, category and brand, in log odds", _LEANING),
        Feature("leaning_text", "leaning to it by the pretrained vectors, in log odds", _LEANING),
        Feature("leaning_numbers", "leaning to it by its numbers in the catalogue, in log odds", _LEANING),
        Feature("leaning", "the whole leaning, in log odds; 0 if the user was shown nothing", _LEANING),
        *_within_list("leaning", _LEANING),
        Feature("appeal", f"leaning plus {RATE_WEIGHT:g} log odds of shown_rate", _LEANING),
        *_within_list("appeal", _LEANING),
        Feature(
            LIST_POSITION,
            "place that the caller would show it at, 0 the first; NaN if not told",
            "it was high up",
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    rates, leaning = moment.popularity.click_rates, moment.leaning(positions)
    if rates is None or leaning is None:
        return np.full((len(positions), len(features(moment.parts.config.state))), np.nan)
    rate, lean, parts = rates.rate[positions], leaning.total, leaning.parts
    appeal = lean + RATE_WEIGHT * log_odds(rates, positions)
    return np.column_stack(
        (
            *_with_standing(rate),
            rates.expected[positions],
            rates.impressions[positions],
            _of_user(moment, positions, rates.overall),
            parts["words"],
            parts["text"] + parts["near_text"],
            parts["numbers"],
            *_with_standing(lean),
            *_with_standing(appeal),
            _places(moment, positions),
        )
    )


def _within_list(name: str, words: str) -> tuple[Feature, Feature]:
    return (
        Feature(f"{name}_z", f"{name}, standardised within the list; 0 if all are equal", words),
        Feature(f"{name}_above", f"share of the list with a greater {name}; 0 is the best", words),
    )


def _with_standing(values: Float64[np.ndarray, " items"]) -> tuple[Float64[np.ndarray, " items"], ...]:
    return values, standardised(values), share_above(values)


def _of_user(
    moment: Moment, positions: Int64[np.ndarray, " items"], overall: float
) -> Float64[np.ndarray, "items columns"]:
    """The user's impressions and rate, and for each item how often it was shown to and chosen by the user."""
    shown = moment.user.shown
    seen, chosen = shown.impressions.sum(), shown.engaged.sum()
    found = np.zeros((len(positions), 4))
    found[:, 0], found[:, 1] = seen, (chosen + _EVIDENCE * overall) / (seen + _EVIDENCE)
    if len(shown.positions):
        at = np.minimum(np.searchsorted(shown.positions, positions), len(shown.positions) - 1)
        held = shown.positions[at] == positions
        found[held, 2], found[held, 3] = shown.impressions[at[held]], shown.engaged[at[held]]
    return found


def _places(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    reads = moment.parts.config.ranker.position == "feature"
    if moment.places is None or not reads:
        return np.full(len(positions), np.nan)
    return moment.places.of_items(positions)
