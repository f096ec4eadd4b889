"""What exposed units did, from the event log: one row per unit, with columns that metrics can name.

============================ =======================================================================
column                       meaning
============================ =======================================================================
impressions, views, clicks   number of events
add_to_carts, purchases      number of events
orders                       number of different moments with a purchase
revenue                      sum of price times quantity of purchases; a missing quantity counts as 1
converted                    1 with a purchase, else 0
clicks_before,               the same over the 28 days before the first exposure: covariates, which the
purchases_before,            experiment cannot have changed
revenue_before
============================ =======================================================================

Events count from the first exposure, inclusive, to the end of the window, exclusive, by effective time.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from recsys.experiments.bulk import ARM, UNIT_ID
from recsys.experiments.exposures import FIRST_EXPOSURE
from recsys.experiments.unit_table import EXPOSURE_TIME
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, MERGED_INTO, PRICE, QUANTITY, TIMESTAMP, USER_ID

COVARIATE_DAYS: Final = 28
"""Days before the first exposure that covariates sum over: four whole weeks."""

_COUNTED = {
    "impressions": "impression",
    "views": "view",
    "clicks": "click",
    "add_to_carts": "add_to_cart",
    "purchases": "purchase",
}
_IS_PURCHASE = pl.col(EVENT_TYPE) == "purchase"
_REVENUE = (pl.col(PRICE) * pl.col(QUANTITY).fill_null(1.0)).filter(_IS_PURCHASE).sum()
_OUTCOMES = [
    *((pl.col(EVENT_TYPE) == kind).sum().cast(pl.Float64).alias(name) for name, kind in _COUNTED.items()),
    pl.col(EFFECTIVE_TIME).filter(_IS_PURCHASE).n_unique().cast(pl.Float64).alias("orders"),
    _REVENUE.alias("revenue"),
    _IS_PURCHASE.any().cast(pl.Float64).alias("converted"),
]
_COVARIATES = [
    (pl.col(EVENT_TYPE) == "click").sum().cast(pl.Float64).alias("clicks_before"),
    _IS_PURCHASE.sum().cast(pl.Float64).alias("purchases_before"),
    _REVENUE.alias("revenue_before"),
]


def exposed_events(events: pl.LazyFrame, units: pl.DataFrame, until: datetime) -> pl.DataFrame:
    """The events of exposed units, from ``COVARIATE_DAYS`` before their first exposure on.

    Args:
        events: A scan of the event log; a visitor's events count for the user of the next login.
        units: ``unit_id``, ``arm``, ``first_exposure``.
        until: Events before this moment.

    Returns:
        ``unit_id``, ``first_exposure``, ``event_type``, ``effective_time``, ``price``, ``quantity``.
    """
    names = events.collect_schema().names()
    unit = pl.coalesce(MERGED_INTO, USER_ID) if MERGED_INTO in names else pl.col(USER_ID)
    time = pl.col(EFFECTIVE_TIME)
    return (
        events.select(unit.alias(UNIT_ID), EVENT_TYPE, EFFECTIVE_TIME, PRICE, QUANTITY)
        .filter(time < pl.lit(until).cast(TIMESTAMP))
        .join(units.lazy().select(UNIT_ID, FIRST_EXPOSURE), on=UNIT_ID)
        .filter(time >= pl.col(FIRST_EXPOSURE) - timedelta(days=COVARIATE_DAYS))
        .collect(engine="streaming")
    )


def unit_metrics(
    units: pl.DataFrame,
    events: pl.DataFrame,
    *,
    start: timedelta = timedelta(0),
    end: timedelta | None = None,
) -> pl.DataFrame:
    """Sum up what every unit did.

    Args:
        units: ``unit_id``, ``arm``, ``first_exposure``.
        events: From ``exposed_events``.
        start: Events count from so long after the first exposure, inclusive.
        end: To so long after it, exclusive; ``None`` for all.

    Returns:
        ``unit_id``, ``arm``, ``exposure_time`` and the columns above, for every unit, in order of arm; zeros
        for a unit without events.
    """
    age = pl.col(EFFECTIVE_TIME) - pl.col(FIRST_EXPOSURE)
    counts = age >= start if end is None else (age >= start) & (age < end)
    outcomes = events.lazy().filter(counts).group_by(UNIT_ID).agg(_OUTCOMES)
    covariates = events.lazy().filter(age < timedelta(0)).group_by(UNIT_ID).agg(_COVARIATES)
    return (
        units.lazy()
        .select(UNIT_ID, ARM, pl.col(FIRST_EXPOSURE).alias(EXPOSURE_TIME))
        .join(outcomes, on=UNIT_ID, how="left")
        .join(covariates, on=UNIT_ID, how="left")
        .with_columns(pl.selectors.float().fill_null(0.0))
        .sort(ARM, UNIT_ID)
        .collect(engine="streaming")
    )


def unpriced_purchases(events: pl.DataFrame) -> int:
    """Purchases without a price, which add nothing to revenue."""
    return events.filter(_IS_PURCHASE & pl.col(PRICE).is_null()).height
