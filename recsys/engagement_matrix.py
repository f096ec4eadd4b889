"""Who engaged with what, as one sparse matrix: what the collaborative tables are fitted on."""

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64
from scipy import sparse

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, USER_ID


class EngagementMatrix(NamedTuple):
    """Decayed engagement of users with items."""

    values: sparse.csr_array
    """Users by items, float64, > 0 where there is any."""
    items: Int64[np.ndarray, " columns"]
    """Catalogue position per column, ascending."""


def engagement_matrix(
    events: pl.LazyFrame, catalogue: Catalogue, config: StateConfig, until_ms: int, half_life_days: float
) -> EngagementMatrix:
    """Sum the events of positive weight before ``until_ms``, decayed to it.

    Args:
        events: Event log with ``effective_time``.
        catalogue: The items; events of others are left out, and items without events have no column.
        config: Weights by event type.
        until_ms: End of the data, milliseconds since the epoch.
        half_life_days: Half-life of the decay.
    """
    weights = {name: weight for name, weight in config.event_weights.items() if weight > 0}
    time_ms = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    sums = (
        events.filter(pl.col(EVENT_TYPE).is_in(list(weights)), time_ms < until_ms)
        .select(
            user=pl.col(USER_ID).rank("dense").cast(pl.Int64) - 1,
            item=pl.col(ITEM_ID).replace_strict(catalogue.position, default=-1, return_dtype=pl.Int64),
            value=pl.col(EVENT_TYPE).replace_strict(weights, return_dtype=pl.Float64)
            * pl.lit(2.0).pow(-(until_ms - time_ms) / DAY_MS / half_life_days),
        )
        .filter(pl.col("item") >= 0)
        .group_by("user", "item")
        .agg(pl.col("value").sum())
        .sort("user", "item")
        .collect()
    )
    items, column = np.unique(sums["item"].to_numpy(), return_inverse=True)
    user = sums["user"].to_numpy()
    shape = (int(user.max(initial=-1)) + 1, len(items))
    values: Float64[np.ndarray, " pairs"] = sums["value"].to_numpy()
    return EngagementMatrix(sparse.csr_array((values, (user, column)), shape=shape), items)
