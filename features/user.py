"""User: how much and how regularly this user shops at all.

Inputs: all rows of the user and the times of the baskets. Available online.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from features.log import POSITION, TIME, WEIGHT, OfflineLog
from recsys.config import StateConfig
from recsys.moment import Moment
from recsys.schema import AS_OF, DAY_MS, QUERY_ID

_WORDS = "it fits how often you shop"
_NEW_DAYS = 56


def _middle(config: StateConfig) -> int:
    return len(config.half_lives_days) // 2


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    half_life = config.half_lives_days[_middle(config)]
    return (
        Feature(
            f"user_{days(half_life)}", f"weighted events of the user, half-life {half_life:g} days", _WORDS
        ),
        Feature("user_baskets", "distinct purchase times", _WORDS),
        Feature("user_recency_days", "days since the last purchase", _WORDS),
        Feature("user_cadence_days", "mean days between baskets; NaN below two", _WORDS),
        Feature("user_items", "distinct items of the history", _WORDS),
        Feature("user_age_days", "days since the first event; NaN if there is none", _WORDS),
        Feature(
            "user_new_share",
            f"share of the items of the last {_NEW_DAYS:g} days that are new since; NaN if there are none",
            "you like to try something new",
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment, repeated for each item."""
    user = moment.user
    baskets = user.basket_ms
    total = user.engagement[:, _middle(moment.parts.config.state)].sum()
    recency = (moment.as_of_ms - baskets[-1]) / DAY_MS if len(baskets) else np.nan
    cadence = (baskets[-1] - baskets[0]) / DAY_MS / (len(baskets) - 1) if len(baskets) > 1 else np.nan
    items = len(user.positions)
    age = (moment.as_of_ms - user.first_ms.min()) / DAY_MS if items else np.nan
    since_ms = moment.as_of_ms - _NEW_DAYS * DAY_MS
    lately = int((user.last_ms >= since_ms).sum())
    new_share = int((user.first_ms >= since_ms).sum()) / lately if lately else np.nan
    row = (total, float(len(baskets)), recency, cadence, float(items), age, new_share)
    return np.tile(row, (len(positions), 1))


def offline(log: OfflineLog, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The family for a table of ``query_id, item_position`` pairs, in the same order."""
    middle = _middle(log.config.state)
    total, baskets, recency, cadence, items, age, new_share = (
        feature.name for feature in features(log.config.state)
    )
    since = pl.col(AS_OF) - _NEW_DAYS * DAY_MS
    known = log.rows().filter(pl.col(POSITION) >= 0)
    sums = known.group_by(QUERY_ID).agg((pl.col(WEIGHT) * pl.col(f"s{middle}")).sum().alias(total))
    history = (
        known.group_by(QUERY_ID, POSITION)
        .agg(pl.col(AS_OF).first(), pl.col("first_ms").min(), pl.col("last_ms").max())
        .group_by(QUERY_ID)
        .agg(
            pl.len().cast(pl.Float64).alias(items),
            ((pl.col(AS_OF).first() - pl.col("first_ms").min()) / DAY_MS).alias(age),
            new=(pl.col("first_ms") >= since).sum(),
            lately=(pl.col("last_ms") >= since).sum(),
        )
        .select(
            QUERY_ID,
            items,
            age,
            pl.when(pl.col("lately") > 0).then(pl.col("new") / pl.col("lately")).alias(new_share),
        )
    )
    times = (
        log.baskets()
        .group_by(QUERY_ID)
        .agg(
            pl.len().cast(pl.Float64).alias(baskets),
            ((pl.col(AS_OF).first() - pl.col(TIME).max()) / DAY_MS).alias(recency),
            pl.when(pl.len() > 1)
            .then((pl.col(TIME).max() - pl.col(TIME).min()) / DAY_MS / (pl.len() - 1))
            .alias(cadence),
        )
    )
    return (
        pairs.join(sums, on=QUERY_ID, how="left", maintain_order="left")
        .join(times, on=QUERY_ID, how="left", maintain_order="left")
        .join(history, on=QUERY_ID, how="left", maintain_order="left")
        .with_columns(pl.col(total, baskets, items).fill_null(0.0))
        .select(total, baskets, recency, cadence, items, age, new_share)
    )
