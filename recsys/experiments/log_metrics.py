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

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from recsys.experiments.bulk import ARM, UNIT_ID
from recsys.experiments.logins import with_persons
from recsys.experiments.persons import FIRST_EXPOSURE
from recsys.experiments.unit_table import EXPOSURE_TIME
from recsys.schema import EFFECTIVE_TIME, EVENT_TYPE, PRICE, QUANTITY, TIMESTAMP, USER_ID

COVARIATE_DAYS: Final = 28
"""Days before the first exposure that covariates sum over: four whole weeks."""

_UNIT, _AGE, _AMOUNT = "unit", "age", "amount"
COUNTED: Final = {
    "impressions": "impression",
    "views": "view",
    "clicks": "click",
    "add_to_carts": "add_to_cart",
    "purchases": "purchase",
}
"""Types of events by the column that counts them."""
_IS_PURCHASE = pl.col(EVENT_TYPE) == "purchase"
_OUTCOMES = (
    *((pl.col(EVENT_TYPE) == kind).sum().alias(name) for name, kind in COUNTED.items()),
    pl.col(_AGE).filter(_IS_PURCHASE).n_unique().alias("orders"),
    pl.col(_AMOUNT).sum().alias("revenue"),
    _IS_PURCHASE.any().alias("converted"),
)
_COVARIATES = (
    (pl.col(EVENT_TYPE) == "click").sum().alias("clicks_before"),
    _IS_PURCHASE.sum().alias("purchases_before"),
    pl.col(_AMOUNT).sum().alias("revenue_before"),
)

LOG_COLUMNS: Final = frozenset(each.meta.output_name() for each in (*_OUTCOMES, *_COVARIATES))
"""What metrics of an experiment that servers run can name."""


@dataclass(frozen=True, eq=False)
class ExposedLog:
    """Exposed units and their events."""

    units: pl.DataFrame
    """``unit_id``, ``arm``, ``first_exposure``; in order of arm."""
    events: pl.DataFrame
    """``unit``: row of ``units``; ``age`` since its first exposure; ``event_type``; ``amount`` of a purchase,
    0 without a price."""
    num_unpriced: int
    """Purchases without a price, which add nothing to revenue."""

    def metrics(self, start: timedelta = timedelta(0), end: timedelta | None = None) -> pl.DataFrame:
        """Sum up what every unit did.

        Args:
            start: Events count from so long after the first exposure, inclusive.
            end: To so long after it, exclusive; ``None`` for all.

        Returns:
            ``unit_id``, ``arm``, ``exposure_time`` and the columns above, for every unit, in order of arm;
            zeros for a unit without events.
        """
        age = pl.col(_AGE)
        counts = age >= start if end is None else (age >= start) & (age < end)
        return self.units.select(UNIT_ID, ARM, pl.col(FIRST_EXPOSURE).alias(EXPOSURE_TIME)).with_columns(
            *self._summed(self.events.filter(counts), _OUTCOMES), *self._before
        )

    @cached_property
    def _before(self) -> list[pl.Series]:
        return self._summed(self.events.filter(pl.col(_AGE) < timedelta(0)), _COVARIATES)

    def _summed(self, events: pl.DataFrame, sums: tuple[pl.Expr, ...]) -> list[pl.Series]:
        """Sums per unit, each a column as long as ``units``."""
        grouped = events.group_by(_UNIT).agg(sums)
        rows, columns = grouped[_UNIT].to_numpy(), []
        for name in grouped.columns[1:]:
            values = np.zeros(self.units.height)
            values[rows] = grouped[name].to_numpy()
            columns.append(pl.Series(name, values))
        return columns


def exposed_log(
    events: pl.LazyFrame, units: pl.DataFrame, until: datetime, merges: pl.DataFrame | None = None
) -> ExposedLog:
    """Read the events of exposed units, from ``COVARIATE_DAYS`` before their first exposure on.

    Args:
        events: A scan of the event log.
        units: ``unit_id``, ``arm``, ``first_exposure``.
        until: Events before this moment.
        merges: Logins, see ``recsys.experiments.logins``; ``None`` for none.
    """
    units = units.select(UNIT_ID, ARM, FIRST_EXPOSURE).sort(ARM, UNIT_ID)
    time = pl.col(EFFECTIVE_TIME)
    numbered = units.lazy().with_row_index(_UNIT).select(_UNIT, UNIT_ID, FIRST_EXPOSURE)
    found = (
        with_persons(
            events.select(USER_ID, EVENT_TYPE, EFFECTIVE_TIME, PRICE, QUANTITY).filter(
                time < pl.lit(until).cast(TIMESTAMP)
            ),
            merges,
            subject=USER_ID,
            time=EFFECTIVE_TIME,
        )
        .join(numbered, on=UNIT_ID)
        .filter(time >= pl.col(FIRST_EXPOSURE) - timedelta(days=COVARIATE_DAYS))
        .select(
            _UNIT,
            EVENT_TYPE,
            (time - pl.col(FIRST_EXPOSURE)).alias(_AGE),
            pl.when(_IS_PURCHASE).then(pl.col(PRICE) * pl.col(QUANTITY).fill_null(1.0)).alias(_AMOUNT),
        )
        .collect(engine="streaming")
    )
    num_unpriced = found.filter(_IS_PURCHASE & pl.col(_AMOUNT).is_null()).height
    return ExposedLog(units, found.with_columns(pl.col(_AMOUNT).fill_null(0.0)), num_unpriced)
