"""Small logs for the baselines, and a look at the lists they give."""

from datetime import UTC, datetime

import polars as pl

from recsys.schema import DAY_MS, EFFECTIVE_TIME, EVENT_TIME, TIMESTAMP
from tests.tiny_shop import CUT_MS, tiny_shop
from training.baselines.interactions import Interactions

NOW = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)


def history_of(*events: tuple[str, str, float], event_type: str = "purchase") -> pl.DataFrame:
    """Events as (user, item, age in days before NOW)."""
    return pl.DataFrame(
        {
            "user_id": [user for user, _, _ in events],
            "item_id": [item for _, item, _ in events],
            "event_type": [event_type] * len(events),
            "effective_time": pl.Series([NOW - round(age * DAY_MS) for _, _, age in events], dtype=pl.Int64),
        },
        schema_overrides={"user_id": pl.String, "item_id": pl.String, "event_type": pl.String},
    ).with_columns(pl.col("effective_time").cast(TIMESTAMP))


def log_of(*events: tuple[str, str, float]) -> Interactions:
    """Purchases as (user, item, age in days before NOW), seen at NOW."""
    return Interactions.of(history_of(*events), NOW)


def shop_log() -> Interactions:
    """The tiny shop at its cut, with the future behind it: nobody may see that."""
    shop = tiny_shop()
    events = pl.concat([shop.history, shop.future]).with_columns(pl.col(EVENT_TIME).alias(EFFECTIVE_TIME))
    return Interactions.of(events, CUT_MS)


def items_of(lists: pl.DataFrame, user: str) -> list[str]:
    """A user's list, best first, after a look at its ranks."""
    mine = lists.filter(pl.col("user_id") == user).sort("rank")
    assert mine["rank"].to_list() == list(range(1, mine.height + 1))
    found: list[str] = mine["item_id"].to_list()
    return found
