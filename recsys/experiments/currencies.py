"""Revenue in several currencies: a sum of them means nothing, so no verdict may rest on it.

An event's price is in its item's currency, which the catalogue knows.
"""

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from recsys.experiments.bulk import UNIT_ID
from recsys.experiments.data_quality import Problem
from recsys.experiments.definition import Experiment
from recsys.experiments.logins import with_persons
from recsys.experiments.persons import FIRST_EXPOSURE
from recsys.schema import (
    CURRENCY,
    EFFECTIVE_TIME,
    EVENT_TYPE,
    ITEM_ID,
    ITEM_SCHEMA,
    PRICE,
    TIMESTAMP,
    USER_ID,
)
from recsys.tables import merged_items
from recsys.workspace import Workspace

REVENUE = "revenue"
"""Column of ``recsys.experiments.log_metrics`` that sums prices."""


def currency_problems(
    workspace: Workspace,
    events: pl.LazyFrame,
    experiment: Experiment,
    units: pl.DataFrame,
    until: datetime,
    *,
    merges: pl.DataFrame | None = None,
) -> tuple[Problem, ...]:
    """A blocking problem for every metric of revenue, where units bought in several currencies.

    Args:
        workspace: Has the catalogue.
        events: A scan of the event log.
        experiment: Names the metrics.
        units: ``unit_id``, ``first_exposure``.
        until: Events before this moment.
        merges: Logins, see ``recsys.experiments.logins``; ``None`` for none.

    Raises:
        CatalogueError: The catalogue cannot be read.
        DataError: Its file is damaged.
    """
    concerned = [metric for metric in experiment.metrics if REVENUE in metric.outcomes]
    if not concerned:
        return ()
    currencies = (
        merged_items(workspace, pl.DataFrame(schema=ITEM_SCHEMA)).select(ITEM_ID, CURRENCY).drop_nulls()
    )
    if currencies[CURRENCY].n_unique() < 2:
        return ()
    found = purchases_by_currency(events, currencies, units, until, merges=merges)
    if len(found) < 2:
        return ()
    seen = ", ".join(f"{currency} {count:,}" for currency, count in found.items())
    message = (
        f"purchases are in several currencies ({seen}) and their prices were summed as they are, which means "
        "nothing; convert prices before they are recorded, target one currency, or measure purchases"
    )
    return tuple(Problem("mixed_currencies", "blocking", message, metric.name) for metric in concerned)


def purchases_by_currency(
    events: pl.LazyFrame,
    currencies: pl.DataFrame,
    units: pl.DataFrame,
    until: datetime,
    *,
    merges: pl.DataFrame | None = None,
) -> Mapping[str, int]:
    """Number of priced purchases since the first exposure by currency, most frequent first.

    Args:
        events: A scan of the event log.
        currencies: ``item_id``, ``currency``; purchases of other items are not counted.
        units: ``unit_id``, ``first_exposure``.
        until: Events before this moment.
        merges: Logins, see ``recsys.experiments.logins``; ``None`` for none.
    """
    bought = (pl.col(EVENT_TYPE) == "purchase") & pl.col(PRICE).is_not_null()
    within = events.filter(bought & (pl.col(EFFECTIVE_TIME) < pl.lit(until).cast(TIMESTAMP)))
    counted = (
        with_persons(within, merges, subject=USER_ID, time=EFFECTIVE_TIME)
        .select(UNIT_ID, ITEM_ID, EFFECTIVE_TIME)
        .join(units.lazy().select(UNIT_ID, FIRST_EXPOSURE), on=UNIT_ID)
        .filter(pl.col(EFFECTIVE_TIME) >= pl.col(FIRST_EXPOSURE))
        .join(currencies.lazy(), on=ITEM_ID)
        .group_by(CURRENCY)
        .len()
        .sort(["len", CURRENCY], descending=[True, False])
        .collect(engine="streaming")
    )
    return dict(counted.iter_rows())
