"""A copy of a shop in which the newest items have no past: what a model makes of items like these."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.schema import EFFECTIVE_TIME, EVENT_SCHEMA, ITEM_ID
from recsys.tables import publish, read_items, read_users
from recsys.workspace import Workspace


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The copy, and what it lacks."""

    workspace: Workspace
    items: pl.Series
    """Ids of the items without a past."""


def hold_out(workspace: Workspace, root: Path, share: float, start_ms: int) -> HeldOut:
    """Copy catalogue, users and log, without any event before a moment of the items that came last.

    Items come by the first event of each, of whatever type: what was only ever seen has come too. Of those
    that came before ``start_ms``, the last ``share`` are held out. Their events from then on stay: they are
    what there is to find.

    Args:
        workspace: The shop.
        root: Root of the copy; it need not exist.
        share: Share of the items to hold out, above 0 and below 1.
        start_ms: The moment, milliseconds since the epoch.

    Raises:
        DataError: The share is out of range, or no item is left or none held out by it.
    """
    log, time = EventLog(workspace.events).scan(), pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    first = log.group_by(ITEM_ID).agg(time.min().alias("first")).filter(pl.col("first") < start_ms)
    ordered = first.sort("first", ITEM_ID).collect()[ITEM_ID]
    count = round(share * len(ordered))
    if not 0 < share < 1 or not 0 < count < len(ordered):
        raise DataError(
            f"expected a share that holds some of the {len(ordered):,} items with events out and leaves "
            f"others, between 0 and 1, got {share:g}"
        )
    items = ordered[-count:]
    kept = log.filter((time >= start_ms) | ~pl.col(ITEM_ID).is_in(items.to_list()))
    copy = Workspace(root)
    EventLog(copy.events).append(kept.select(EVENT_SCHEMA.names()).collect(), "held-out")
    publish(copy.items, read_items(workspace))
    publish(copy.users, read_users(workspace))
    return HeldOut(copy, items)
