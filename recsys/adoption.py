"""How fast items win users who never had them: what first-time purchases follow."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, USER_ID


@dataclass(frozen=True, eq=False)
class Adoption:
    """Decayed counts of users who touched an item for the first time, as of the end of the data."""

    rates: Float32[np.ndarray, "half_lives items"]
    """Sum of ``2^(-age / h)`` over the first events of all users, by half-life and catalogue position."""
    fitted_until_ms: int
    """No event at or after this was seen; milliseconds since the epoch."""


def fit_adoption(events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int) -> Adoption:
    """Count first events of a positive type, strictly before ``until_ms``.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items.
        config: Half-lives and weights.
        until_ms: End of the data, milliseconds since the epoch.
    """
    positive = [name for name, weight in config.event_weights.items() if weight > 0]
    first = (
        events.filter(pl.col(EVENT_TYPE).is_in(positive), pl.col(EFFECTIVE_TIME).dt.epoch("ms") < until_ms)
        .group_by(USER_ID, ITEM_ID)
        .agg(pl.col(EFFECTIVE_TIME).min().dt.epoch("ms"))
        .select(ITEM_ID, age=(until_ms - pl.col(EFFECTIVE_TIME)) / DAY_MS)
        .collect()
    )
    positions = catalogue.positions(first[ITEM_ID].to_list())
    known = positions >= 0
    age = first["age"].to_numpy()[known]
    rates = [
        np.bincount(positions[known], np.exp2(-age / half_life), minlength=len(catalogue))
        for half_life in config.half_lives_days
    ]
    return Adoption(np.asarray(rates, np.float32), until_ms)
