"""Which items need a blurb most: those that shoppers are shown most."""

import polars as pl

from recsys.event_log import EventLog
from recsys.schema import EVENT_TYPE, IMPRESSION, ITEM_ID
from recsys.workspace import Workspace

NUM_SHOWN = "num_shown"
"""Column with how often an item was shown or, in a log without impressions, touched."""


def by_demand(workspace: Workspace, items: pl.DataFrame) -> pl.DataFrame:
    """Items with ``num_shown``, those that were shown most first; the rest by id.

    Args:
        workspace: Whose log counts.
        items: Columns of ``ITEM_SCHEMA``.

    Raises:
        DataError: The log is damaged.
    """
    events = EventLog(workspace.events).scan()
    is_shown = pl.col(EVENT_TYPE) == IMPRESSION
    counts = events.group_by(ITEM_ID).agg(is_shown.sum().alias("shown"), pl.len().alias("touched")).collect()
    column = "shown" if counts["shown"].sum() else "touched"
    shown = counts.select(ITEM_ID, pl.col(column).cast(pl.Int64).alias(NUM_SHOWN))
    return (
        items.join(shown, on=ITEM_ID, how="left")
        .with_columns(pl.col(NUM_SHOWN).fill_null(0))
        .sort([NUM_SHOWN, ITEM_ID], descending=[True, False])
    )
