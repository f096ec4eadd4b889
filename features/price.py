"""Price: the item's price now, against its usual price, its category and the user's habit.

Inputs: the bundle's prices and the user's history. Available online.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature
from recsys.config import StateConfig
from recsys.moment import Moment

_HABIT = "it is in your price range"


def features(_: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        Feature("price", "median unit price paid, else the catalogue's; NaN if unknown", _HABIT),
        Feature("price_change", "latest prices paid over the usual one; NaN if unknown", "its price is good"),
        Feature("price_level", "logarithm of its price over its category's median; NaN if unknown", _HABIT),
        Feature(
            "price_from_habit",
            "its price level less the mean level of the user's items, by engagement; NaN if unknown",
            _HABIT,
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    history, user = moment.parts.tables.history, moment.user
    price = history.price[positions].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = history.recent_price[positions] / price
    levels = moment.parts.price_levels
    own, weights = levels[user.positions], user.engagement[:, -1].clip(min=0)
    known = ~np.isnan(own) & (weights > 0)
    habit = np.average(own[known], weights=weights[known]) if known.any() else np.nan
    level = levels[positions]
    return np.column_stack((price, np.where(price > 0, change, np.nan), level, level - habit))
