"""User x item: how often, how recently and how regularly this user touched this item.

Inputs: the user's rows for the item. Available online.
"""

import math

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from features.log import POSITION, TIME, WEIGHT, OfflineLog
from recsys.config import StateConfig
from recsys.moment import Moment
from recsys.schema import AS_OF, DAY_MS, QUERY_ID

_AGAIN = "you buy it regularly"


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        *(
            Feature(
                f"user_item_{days(h)}",
                f"weighted events, decayed with a half-life of {h:g} days; 0 if never",
                _AGAIN,
            )
            for h in config.half_lives_days
        ),
        Feature("user_item_count", "events of a positive type; 0 if never", "you had it {value:.0f} times"),
        Feature("user_item_recency_days", "days since the last event", "you had it {value:.0f} days ago"),
        Feature(
            "user_item_cadence_days",
            "mean days between events; NaN below two",
            "you take it every {value:.0f} days or so",
        ),
        Feature("user_item_due", "recency over cadence; 1 is exactly due", "it is about time for it again"),
        Feature(
            "user_item_visits",
            "recency over the mean days between the user's baskets; NaN below two baskets",
            "it is about time for it again",
        ),
        Feature("user_item_age_days", "days since the first event", "you have known it for long"),
        Feature("user_item_share", "share of the user's weighted events, middle half-life", _AGAIN),
        Feature(
            "user_item_rate",
            "weighted events per day since the user's first event, both decayed by the longest half-life",
            _AGAIN,
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    user = moment.user
    held, row = find(user.positions, positions)
    config = moment.parts.config.state
    out = np.zeros((len(positions), user.engagement.shape[1] + 8))
    out[:, -7:-2] = np.nan
    row = row[held]
    count = user.counts[row]
    recency = (moment.as_of_ms - user.last_ms[row]) / DAY_MS
    with np.errstate(divide="ignore", invalid="ignore"):
        cadence = np.where(count > 1, (user.last_ms[row] - user.first_ms[row]) / DAY_MS / (count - 1), np.nan)
        due = np.where(cadence > 0, recency / cadence, np.nan)
    if held.any():
        age = (moment.as_of_ms - user.first_ms[row]) / DAY_MS
        middle = config.middle
        total = user.engagement[:, middle].clip(min=0).sum()
        share = user.engagement[row, middle] / total if total > 0 else np.zeros(len(row))
        known = (moment.as_of_ms - user.first_ms.min()) / DAY_MS
        rate = user.engagement[row, -1] / _decayed_days(known, config.half_lives_days[-1])
        between = _days_between(user.basket_ms)
        visits = recency / between if between > 0 else np.full(len(row), np.nan)
        out[held] = np.column_stack(
            (user.engagement[row], count, recency, cadence, due, visits, age, share, rate)
        )
    return out


def _days_between(times_ms: Int64[np.ndarray, " times"]) -> float:
    """Mean days between ascending times; NaN below two."""
    if len(times_ms) < 2:
        return float("nan")
    return float(times_ms[-1] - times_ms[0]) / DAY_MS / (len(times_ms) - 1)


def _decayed_days(days_known: float, half_life: float) -> float:
    """The integral of ``2^(-t / h)`` over the days known, at least one."""
    return half_life / math.log(2) * (1 - 2 ** (-max(days_known, 1.0) / half_life))


def offline(log: OfflineLog, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The family for a table of ``query_id, item_position`` pairs, in the same order."""
    half_lives = log.config.state.half_lives_days
    count = pl.col("user_item_count")
    table = (
        log.rows()
        .group_by(QUERY_ID, POSITION)
        .agg(
            *(
                (pl.col(WEIGHT) * pl.col(f"s{i}")).sum().alias(f"user_item_{days(h)}")
                for i, h in enumerate(half_lives)
            ),
            user_item_count=pl.col("count").filter(pl.col(WEIGHT) > 0).sum().cast(pl.Float64),
            user_item_recency_days=(pl.col(AS_OF).first() - pl.col("last_ms").max()) / DAY_MS,
            user_item_age_days=(pl.col(AS_OF).first() - pl.col("first_ms").min()) / DAY_MS,
            span=(pl.col("last_ms").max() - pl.col("first_ms").min()) / DAY_MS,
        )
        .with_columns(user_item_cadence_days=pl.when(count > 1).then(pl.col("span") / (count - 1)))
        .with_columns(
            user_item_due=pl.when(pl.col("user_item_cadence_days") > 0).then(
                pl.col("user_item_recency_days") / pl.col("user_item_cadence_days")
            )
        )
    )
    middle, longest = (f"user_item_{days(half_lives[i])}" for i in (log.config.state.middle, -1))
    h = half_lives[-1]
    days_known = pl.col("user_item_age_days").filter(pl.col(POSITION) >= 0).max().over(QUERY_ID).clip(1.0)
    total = pl.col(middle).filter(pl.col(POSITION) >= 0).clip(0.0).sum().over(QUERY_ID)
    time, baskets = pl.col(TIME), pl.len()
    between = (
        log.baskets()
        .group_by(QUERY_ID)
        .agg(between=pl.when(baskets > 1).then((time.max() - time.min()) / DAY_MS / (baskets - 1)))
    )
    table = table.join(between, on=QUERY_ID, how="left").with_columns(
        user_item_visits=pl.when(pl.col("between") > 0).then(
            pl.col("user_item_recency_days") / pl.col("between")
        ),
        user_item_share=pl.when(total > 0).then(pl.col(middle) / total).otherwise(0.0),
        user_item_rate=pl.col(longest) / (h / math.log(2) * (1 - pl.lit(2.0).pow(-days_known / h))),
    )
    zero = [f"user_item_{days(h)}" for h in half_lives]
    zero += ["user_item_count", "user_item_share", "user_item_rate"]
    names = [feature.name for feature in features(log.config.state)]
    return (
        pairs.join(table, on=[QUERY_ID, POSITION], how="left", maintain_order="left")
        .with_columns(pl.col(zero).fill_null(0.0))
        .select(names)
    )


def find(
    sorted_values: Int64[np.ndarray, " values"], wanted: Int64[np.ndarray, " wanted"]
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each wanted value is there, and where."""
    at = np.searchsorted(sorted_values, wanted)
    at = np.minimum(at, max(len(sorted_values) - 1, 0))
    held = sorted_values[at] == wanted if len(sorted_values) else np.zeros(len(wanted), bool)
    return held, at
