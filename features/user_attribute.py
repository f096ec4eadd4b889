"""User x attribute: how much this user is drawn to the item's category, its parent category and its brand.

Inputs: all rows of the user, summed over the items that share the attribute; decay is linear, so no state of
its own is needed. The catalogue's present attributes are used. Available online.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from features.definition import Feature, days
from features.log import POSITION, WEIGHT, OfflineLog
from recsys.catalogue import ATTRIBUTE_NAMES
from recsys.config import StateConfig
from recsys.moment import Moment
from recsys.schema import AS_OF, DAY_MS, QUERY_ID

_WORDS = {
    "category": "you shop this kind of product",
    "parent_category": "you shop this part of the store",
    "brand": "you buy this brand",
}


def _half_lives(config: StateConfig) -> list[tuple[int, float]]:
    """Positions and values of the half-lives used: all but the shortest."""
    return list(enumerate(config.half_lives_days))[1:]


def features(config: StateConfig) -> tuple[Feature, ...]:
    """The family's features, in column order."""
    found: list[Feature] = []
    for name in ATTRIBUTE_NAMES:
        for _, half_life in _half_lives(config):
            meaning = (
                f"weighted events with the item's {name}, half-life {half_life:g} days; "
                "NaN if the item has none"
            )
            found.append(Feature(f"user_{name}_{days(half_life)}", meaning, _WORDS[name]))
        found.append(
            Feature(
                f"user_{name}_recency_days", f"days since the last event with the item's {name}", _WORDS[name]
            )
        )
    return tuple(found)


def online(moment: Moment, positions: Int64[np.ndarray, " items"]) -> Float64[np.ndarray, "items features"]:
    """The family for one moment and many items."""
    user, catalogue = moment.user, moment.parts.catalogue
    oldest_first = np.argsort(user.last_ms)
    columns = []
    for name in ATTRIBUTE_NAMES:
        codes = catalogue.attribute_codes[name]
        held, wanted = codes[user.positions], codes[positions]
        size = catalogue.num_attribute_values[name] + 1  # the last one is where -1 lands
        for i, _ in _half_lives(moment.parts.config.state):
            sums = np.bincount(held % size, user.engagement[:, i], minlength=size)
            columns.append(np.where(wanted < 0, np.nan, sums[wanted]))
        last = np.full(size, np.nan)
        last[held[oldest_first]] = user.last_ms[oldest_first]  # of several, the last one stays
        columns.append(np.where(wanted < 0, np.nan, (moment.as_of_ms - last[wanted]) / DAY_MS))
    return np.column_stack(columns)


def offline(log: OfflineLog, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The family for a table of ``query_id, item_position`` pairs, in the same order."""
    catalogue, config = log.catalogue, log.config.state
    rows = log.rows().filter(pl.col(POSITION) >= 0)
    codes = pl.LazyFrame(
        {POSITION: np.arange(len(catalogue)), **{n: catalogue.attribute_codes[n] for n in ATTRIBUTE_NAMES}}
    )
    rows, pairs = (
        frame.join(codes, on=POSITION, how="left", maintain_order="left") for frame in (rows, pairs)
    )
    for name in ATTRIBUTE_NAMES:
        sums = [
            (pl.col(WEIGHT) * pl.col(f"s{i}")).sum().alias(f"user_{name}_{days(h)}")
            for i, h in _half_lives(config)
        ]
        recency = ((pl.col(AS_OF).first() - pl.col("last_ms").max()) / DAY_MS).alias(
            f"user_{name}_recency_days"
        )
        table = rows.filter(pl.col(name) >= 0).group_by(QUERY_ID, name).agg(*sums, recency)
        zero = [f"user_{name}_{days(h)}" for _, h in _half_lives(config)]
        pairs = pairs.join(table, on=[QUERY_ID, name], how="left", maintain_order="left").with_columns(
            pl.when(pl.col(name) >= 0).then(pl.col(zero).fill_null(0.0))
        )
    return pairs.select([feature.name for feature in features(config)])
