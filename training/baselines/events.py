"""What baselines read of a log: the visible events, their weights, and how popular items are.

History frames need ``user_id``, ``item_id``, ``event_type`` and ``effective_time`` (datetime[ms, UTC]).
Events count by their type's weight, and only types with a positive weight count at all.
"""

from collections.abc import Mapping

import polars as pl

from recsys.config import StateConfig
from recsys.metrics import require_columns
from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID

WEIGHT = "weight"
"""Column: weight of one event, > 0."""
POPULARITY = "popularity"
"""Column: how popular an item is, > 0."""
DECIMALS = 9
"""Sums are rounded to this many decimals, so that equal sums stay equal whatever the order of adding."""


def visible(history: pl.DataFrame, as_of_ms: int) -> pl.DataFrame:
    """Events strictly before ``as_of_ms``, milliseconds since the epoch.

    Raises:
        DataError: A column is missing.
    """
    require_columns(history, USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME)
    return history.filter(pl.col(EFFECTIVE_TIME) < _time(as_of_ms))


def since(history: pl.DataFrame, start_ms: int) -> pl.DataFrame:
    """Events at or after ``start_ms``, milliseconds since the epoch."""
    return history.filter(pl.col(EFFECTIVE_TIME) >= _time(start_ms))


def weighted(events: pl.DataFrame, weights: Mapping[str, float] | None) -> pl.DataFrame:
    """Events of positive weight, with the weight as ``weight``; by default the configuration's weights."""
    by_type = StateConfig().event_weights if weights is None else weights
    positive = {name: float(weight) for name, weight in by_type.items() if weight > 0}
    weight = pl.col(EVENT_TYPE).cast(pl.String).replace_strict(positive, default=0.0, return_dtype=pl.Float64)
    return events.with_columns(weight.alias(WEIGHT)).filter(pl.col(WEIGHT) > 0)


def of_users(events: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """The rows of some users."""
    return events.join(users.alias(USER_ID).unique().to_frame(), on=USER_ID, how="semi")


def popularity(
    history: pl.DataFrame, as_of_ms: int, days: int, weights: Mapping[str, float] | None
) -> pl.DataFrame:
    """``item_id`` and ``popularity`` of what was touched in the window, most popular first, ties by item id.

    An item's popularity is the sum, over the users who touched it, of the weight of their strongest event:
    people are counted, not events, so that one keen user does not make a trend.

    Args:
        history: Events, see the module.
        as_of_ms: Only events strictly before this count; milliseconds since the epoch.
        days: Length of the window in days.
        weights: Weight by event type; the default is the configuration's.
    """
    recent = weighted(since(visible(history, as_of_ms), as_of_ms - days * DAY_MS), weights)
    strongest = recent.group_by(USER_ID, ITEM_ID).agg(pl.col(WEIGHT).max())
    counted = strongest.group_by(ITEM_ID).agg(pl.col(WEIGHT).sum().round(DECIMALS).alias(POPULARITY))
    return counted.sort(POPULARITY, ITEM_ID, descending=[True, False])


def _time(milliseconds: int) -> pl.Expr:
    return pl.lit(milliseconds, pl.Int64).cast(TIMESTAMP)
