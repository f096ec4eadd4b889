"""Item: how popular it is with everybody, and within its category.

Inputs: the item aggregates as of the last completed tick. Available online.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from features.log import POSITION, OfflineLog
from recsys.config import StateConfig
from recsys.moment import Moment
from recsys.schema import QUERY_ID


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    return (
        *(
            Feature(
                f"item_{days(h)}",
                f"weighted events of everybody, half-life {h:g} days",
                "it is popular right now",
            )
            for h in config.half_lives_days
        ),
        Feature(
            "item_trend", "shortest over longest half-life's sum; NaN if never touched", "it is on the rise"
        ),
        Feature(
            "item_category_share", "share of its category's events, middle half-life", "it leads its category"
        ),
    )


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    ours = moment.popularity.engagement[:, positions]
    totals = moment.popularity.category_totals[moment.parts.catalogue.attribute_codes["category"][positions]]
    with np.errstate(divide="ignore", invalid="ignore"):
        trend = np.where(ours[-1] > 0, ours[0] / ours[-1], np.nan)
        share = np.where(totals > 0, ours[len(ours) // 2] / totals, np.nan)
    return np.column_stack((*ours, trend, share))


def offline(log: OfflineLog, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The family for a table of ``query_id, item_position`` pairs, in the same order."""
    half_lives = log.config.state.half_lives_days
    names = [f"item_{days(h)}" for h in half_lives]
    middle, shortest, longest = names[len(names) // 2], names[0], names[-1]
    codes = pl.LazyFrame(
        {POSITION: np.arange(len(log.catalogue)), "category": log.catalogue.attribute_codes["category"]}
    )
    table = (
        log.item_rows()
        .rename({f"e{i}": name for i, name in enumerate(names)})
        .join(codes, on=POSITION, how="left")
    )
    totals = (
        table.filter(pl.col("category") >= 0)
        .group_by("tick_ms", "category")
        .agg(category_total=pl.col(middle).sum())
    )
    return (
        pairs.join(log.query_ticks(), on=QUERY_ID, how="left", maintain_order="left")
        .join(table.drop("category"), on=["tick_ms", POSITION], how="left", maintain_order="left")
        .join(codes, on=POSITION, how="left", maintain_order="left")
        .join(totals, on=["tick_ms", "category"], how="left", maintain_order="left")
        .with_columns(pl.col(names).fill_null(0.0))
        .select(
            *names,
            item_trend=pl.when(pl.col(longest) > 0).then(pl.col(shortest) / pl.col(longest)),
            item_category_share=pl.when(pl.col("category_total") > 0).then(
                pl.col(middle) / pl.col("category_total")
            ),
        )
    )
