"""Households of a log that a simulation sends to the shop again, and what things cost there."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.experiments.simulation import MAX_UNITS
from recsys.schema import EVENT_TYPE, ITEM_ID, PRICE, USER_ID
from serving.event import VISITOR_PREFIX

_IS_PURCHASE = pl.col(EVENT_TYPE) == "purchase"


@dataclass(frozen=True)
class Household:
    """Somebody of the log."""

    user_id: str
    bought: Mapping[str, int]
    """How often, by item."""


def draw_households(log: EventLog, size: int | None, seed: int) -> list[Household]:
    """Users with purchases, drawn without replacement.

    Args:
        log: The event log.
        size: Users; ``None`` for all, up to ``MAX_UNITS``, and no more than there are.
        seed: Equal seeds draw equal users from equal logs.

    Raises:
        DataError: There are fewer than two.
    """
    bought = log.scan().filter(_IS_PURCHASE, ~pl.col(USER_ID).str.starts_with(VISITOR_PREFIX))
    counts = bought.group_by(USER_ID, ITEM_ID).len().sort(USER_ID, ITEM_ID).collect()
    user_ids = counts[USER_ID].unique(maintain_order=True)
    if len(user_ids) < 2:
        raise DataError("expected users with purchases in the log, to send them to the shop; ingest some")
    num_drawn = min(size or MAX_UNITS, len(user_ids))
    rows = np.random.default_rng(seed).choice(len(user_ids), num_drawn, replace=False)
    items: dict[str, dict[str, int]] = {user_id: {} for user_id in user_ids.gather(np.sort(rows))}
    for user_id, item_id, count in counts.iter_rows():
        if user_id in items:
            items[user_id][item_id] = count
    return [Household(user_id, mine) for user_id, mine in items.items()]


def mean_prices(log: EventLog) -> dict[str, float]:
    """Mean price of every item that was sold, to the cent."""
    priced = log.scan().filter(_IS_PURCHASE, pl.col(PRICE).is_not_null())
    means = priced.group_by(ITEM_ID).agg(pl.col(PRICE).mean().round(2)).collect()
    return dict(means.iter_rows())
