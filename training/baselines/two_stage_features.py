"""What the two-stage baseline knows of a candidate: the pair's history, the item and the user.

One frame a kind of thing, keyed by ``user``, by ``item`` or by both (their numbers in the log); everything is
as of the log's moment. Ages and gaps are in days, and null where there is nothing to take them from.
"""

import numpy as np
import polars as pl
from jaxtyping import Float32

from recsys.schema import DAY_MS
from training.baselines.events import WEIGHT
from training.baselines.interactions import Interactions

USER, ITEM = "user", "item"
AGE = "age"
"""Column: days since the user last had the item; null when the user never had it."""
DECAYS_PER_WEEK = (0.7, 0.85, 0.92, 0.95, 0.98, 1.0)
"""Decays of the frequencies that the ranker sees."""
POPULARITY_DAYS = (3, 7, 14, 28, 56, 365)
"""Popularity windows that the ranker sees, in days."""
_NEW_DAYS = 28


def pair_features(log: Interactions) -> pl.DataFrame:
    """By user and item: decayed frequencies, number of times, ages of the last and first, gap and due ratio.

    The due ratio is the time since the last purchase over the usual gap between two: 1 is when it is due.
    """

    def make() -> pl.DataFrame:
        age = _age(log)
        decayed = [
            (pl.col(WEIGHT) * pl.lit(decay).pow(age / 7)).sum().alias(f"frequency_{decay}")
            for decay in DECAYS_PER_WEEK
        ]
        pairs = log.liked.group_by(USER, ITEM).agg(
            *decayed,
            times=pl.col("time_ms").n_unique(),
            age=age.min(),
            first_age=age.max(),
            recent_gap=age.unique().sort().slice(0, 2).diff().last(),
        )
        gap = (pl.col("first_age") - pl.col("age")) / (pl.col("times") - 1)
        pairs = pairs.with_columns(gap=pl.when(pl.col("times") > 1).then(gap))
        return pairs.with_columns(
            due=pl.col("age") / pl.col("gap"), recent_due=pl.col("age") / pl.col("recent_gap")
        )

    return log.made("pair features", make)


def item_features(log: Interactions) -> pl.DataFrame:
    """By item: popularity, how many came new, how many came back, their usual gap, and the item's age."""

    def make() -> pl.DataFrame:
        again = pl.col("times") > 1
        items = (
            pair_features(log)
            .group_by(ITEM)
            .agg(
                item_users=pl.len(),
                item_repeat_rate=again.mean(),
                item_times=pl.col("times").mean(),
                item_gap=pl.col("gap").median(),
                item_new_users=(pl.col("first_age") <= _NEW_DAYS).sum(),
                item_newest_users=(pl.col("first_age") <= 7).sum(),
                item_age=pl.col("first_age").max(),
            )
        )
        popularity = {f"popularity_{days}": log.popularity(days) for days in POPULARITY_DAYS}
        every = pl.DataFrame(popularity).with_row_index(ITEM).with_columns(pl.col(ITEM).cast(pl.Int64))
        return every.join(items, on=ITEM, how="left").with_columns(
            item_trend=(pl.col("popularity_7") + 1) / (pl.col("popularity_28") + 4),
            item_new_share=pl.col("item_new_users") / (pl.col("popularity_28") + 1),
        )

    return log.made("item features", make)


def user_features(log: Interactions) -> pl.DataFrame:
    """By user: how often and how much, how recently, and how much of it is new to the user."""

    def make() -> pl.DataFrame:
        age = _age(log)
        visits = log.liked.group_by(USER).agg(
            user_visits=pl.col("time_ms").n_unique(),
            user_age=age.min(),
            user_first_age=age.max(),
            user_events=pl.len(),
            user_recent_events=(age <= _NEW_DAYS).sum(),
        )
        pairs = (
            pair_features(log)
            .group_by(USER)
            .agg(
                user_items=pl.len(),
                user_repeat_rate=(pl.col("times") > 1).mean(),
                user_new_items=(pl.col("first_age") <= _NEW_DAYS).sum(),
            )
        )
        span = pl.col("user_first_age") - pl.col("user_age")
        return visits.join(pairs, on=USER).with_columns(
            user_gap=pl.when(pl.col("user_visits") > 1).then(span / (pl.col("user_visits") - 1)),
            user_visit_size=pl.col("user_events") / pl.col("user_visits"),
        )

    return log.made("user features", make)


def with_features(log: Interactions, candidates: pl.DataFrame) -> pl.DataFrame:
    """Candidates (``user``, ``item`` and scores) with every feature, in the order given."""
    joined = (
        candidates.join(pair_features(log), on=[USER, ITEM], how="left", maintain_order="left")
        .join(item_features(log), on=ITEM, how="left", maintain_order="left")
        .join(user_features(log), on=USER, how="left", maintain_order="left")
    )
    return joined.with_columns(
        item_due=pl.col(AGE) / pl.col("item_gap"), visits_since=pl.col(AGE) / pl.col("user_gap")
    )


def as_matrix(table: pl.DataFrame, *leave_out: str) -> Float32[np.ndarray, "rows features"]:
    """Every column but the keys and some others as numbers, missing ones as NaN."""
    kept = pl.exclude(USER, ITEM, *leave_out).cast(pl.Float32).fill_null(float("nan"))
    return table.select(kept).to_numpy()


def _age(log: Interactions) -> pl.Expr:
    return (log.as_of_ms - pl.col("time_ms")) / DAY_MS
