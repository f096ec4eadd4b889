"""Item history: who finds the item, who comes back to it, and whether this user is due by that measure.

Inputs: the bundle's item history and the user's last event with the item. Available online.
"""

import numpy as np
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from recsys.config import StateConfig
from recsys.moment import Moment
from recsys.schema import DAY_MS


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        *(
            Feature(
                f"adoption_{days(h)}",
                f"users who had it for the first time, half-life {h:g} days",
                "many people try it for the first time",
            )
            for h in config.half_lives_days
        ),
        Feature(
            f"newcomers_{days(config.half_lives_days[config.middle])}",
            "users whose very first events include it, middle half-life",
            "people who are new here take it",
        ),
        Feature("item_users", "users who ever had it", "many people had it"),
        Feature("item_age_days", "days since anybody's first event; NaN if there is none", "it is new here"),
        Feature(
            "item_rebuy_rate", "share of its users who came back to it, shrunk", "people come back to it"
        ),
        Feature("item_gap_days", "median days until they do; NaN if nobody does", "people come back to it"),
        Feature(
            "item_due",
            "days since the user's last event over the item's median gap; NaN without either",
            "it is about time for it again",
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    history, user = moment.parts.tables.history, moment.user
    first = history.first_ms[positions]
    age = np.where(first > 0, (moment.as_of_ms - first) / DAY_MS, np.nan)
    recency = np.full(len(positions), np.nan)
    if len(user.positions):
        at = np.minimum(np.searchsorted(user.positions, positions), len(user.positions) - 1)
        held = user.positions[at] == positions
        recency[held] = (moment.as_of_ms - user.last_ms[at[held]]) / DAY_MS
    gap = history.gap_days[positions].astype(np.float64)
    due = np.divide(recency, gap, out=np.full(len(gap), np.nan), where=gap > 0)
    return np.column_stack(
        (
            history.adoption[:, positions].T.astype(np.float64),
            history.newcomers[moment.parts.config.state.middle, positions].astype(np.float64),
            history.users[positions].astype(np.float64),
            age,
            history.rebuy_rate[positions].astype(np.float64),
            gap,
            due,
        )
    )
