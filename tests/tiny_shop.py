"""A shop whose right answers are known: a checkerboard with the diagonal withheld.

Six groups of eight items and ten users each. A user buys only from the own group, every item once in 14 days: four items from
the first day on, one more in each of the ranker's three label windows, and the eighth, another one for each user, not before
the cut. So the seven come first, the withheld one is the best of what is new, and the items of other groups come last. One
item more belongs to the coffee group by its words alone: nobody ever buys it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys.config import CandidateConfig, Config, EncoderConfig, RankerConfig
from recsys.ingest import ingest
from recsys.schema import (
    BRAND,
    CATEGORY,
    DESCRIPTION,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    PRICE,
    TIMESTAMP,
    TITLE,
    USER_ID,
)
from recsys.workspace import Workspace

GROUPS = {
    "coffee": ("espresso", "arabica", "filter", "decaf", "crema", "mocha", "lungo", "ristretto"),
    "garden": ("spade", "rake", "hose", "seed", "pot", "soil", "shears", "trellis"),
    "bicycle": ("saddle", "pedal", "chain", "brake", "helmet", "tyre", "pump", "bell"),
    "music": ("guitar", "violin", "drum", "flute", "piano", "cello", "horn", "harp"),
    "paint": ("brush", "canvas", "easel", "pastel", "gouache", "varnish", "palette", "ink"),
    "sewing": ("needle", "thread", "button", "zipper", "fabric", "bobbin", "thimble", "ribbon"),
}
NEW_ITEM = "coffee-new"
"""Bought by nobody; only its words say what it is."""
USERS_PER_GROUP = 10
GROUP_SIZE = 8
START = datetime(2024, 1, 1, tzinfo=UTC)
CUT_DAY = 154
CUT = START + timedelta(days=CUT_DAY)
"""End of the history and start of the test window."""
CUT_MS = round(CUT.timestamp() * 1000)
TEST_DAYS = 14

_FIRST_DAY = (0, 0, 0, 0, 112, 126, 140, 154)
"""Day on which a user begins to buy the n-th item of the own order."""


@dataclass(frozen=True)
class TinyShop:
    """The data, and what a recommender should make of it."""

    items: pl.DataFrame
    history: pl.DataFrame
    """Events before the cut."""
    future: pl.DataFrame
    """Events of the test window."""
    regular: dict[str, list[str]]
    """Per user, the items bought before the cut."""
    withheld: dict[str, str]
    """Per user, the one item of the group that is first bought after the cut."""


def group_of(item_or_user_id: str) -> str:
    """The group that an id belongs to."""
    return item_or_user_id.split("-")[0]


def tiny_shop() -> TinyShop:
    """Make the shop; the same one every time."""
    orders = {f"{group}-user{number}": _order(group, number) for group in GROUPS for number in range(USERS_PER_GROUP)}
    events = pl.concat(
        [_events_of(user_id, number, order) for number, (user_id, order) in enumerate(orders.items())]
    )
    return TinyShop(
        items=_items(),
        history=events.filter(pl.col(EVENT_TIME) < CUT),
        future=events.filter(pl.col(EVENT_TIME) >= CUT),
        regular={user_id: order[:-1] for user_id, order in orders.items()},
        withheld={user_id: order[-1] for user_id, order in orders.items()},
    )


def ingest_shop(root: Path, items: pl.DataFrame, events: pl.DataFrame) -> Workspace:
    """Write a shop as files and take them into the workspace ``root / "workspace"``."""
    root.mkdir(parents=True, exist_ok=True)
    items.write_parquet(root / "items.parquet")
    events.write_parquet(root / "events.parquet")
    workspace = Workspace(root / "workspace")
    ingest(workspace, root / "items.parquet", root / "events.parquet", max_reject_share=0.0)
    return workspace


def tiny_config(encoder: Path) -> Config:
    """Settings that learn the shop in a few seconds.

    Args:
        encoder: Directory of a text encoder.
    """
    return Config(
        encoder=EncoderConfig(
            model=str(encoder),
            dimension=16,
            max_tokens=16,
            history_length=20,
            batch_size=96,
            num_head_steps=200,
            num_tuning_steps=10,
            validate_every=50,
            learning_rate=1e-2,
        ),
        candidates=CandidateConfig(
            own=50, text=50, co_occurrence=50, popular=20, trending=20, similar=GROUP_SIZE - 1, neighbours=10
        ),
        ranker=RankerConfig(
            label_window=timedelta(days=14),
            num_negatives=40,
            num_trees=40,
            num_leaves=7,
            learning_rate=0.2,
            min_data_in_leaf=10,
            patience=10,
        ),
    )


def _order(group: str, number: int) -> list[str]:
    """The group's items in the order in which a user comes to them."""
    return [f"{group}-{(number + step) % GROUP_SIZE}" for step in range(1, GROUP_SIZE + 1)]


def _items() -> pl.DataFrame:
    rows = [
        {ITEM_ID: f"{group}-{i}", TITLE: f"{word} {group}", BRAND: f"{group} house" if i % 2 else None, PRICE: 2.0 + i}
        for group, words in GROUPS.items()
        for i, word in enumerate(words)
    ]
    rows.append({ITEM_ID: NEW_ITEM, TITLE: "espresso crema coffee", BRAND: "coffee house", PRICE: 9.0})
    described = [
        row
        | {DESCRIPTION: f"for all who love {group_of(str(row[ITEM_ID]))}", CATEGORY: ["shop", group_of(str(row[ITEM_ID]))]}
        for row in rows
    ]
    return pl.DataFrame(described, schema_overrides={BRAND: pl.String, PRICE: pl.Float64})


def _events_of(user_id: str, number: int, order: list[str]) -> pl.DataFrame:
    """A basket a week, and two in a row hold each item once; what is in a basket was viewed an hour before."""
    random = np.random.default_rng(number)
    rows = []
    for day in range(number % 7, CUT_DAY + TEST_DAYS, 14):
        mine = [item_id for item_id, first_day in zip(order, _FIRST_DAY, strict=True) if first_day <= day]
        random.shuffle(mine)
        for week, basket in enumerate((mine[::2], mine[1::2])):
            time = START + timedelta(days=day + 7 * week, hours=9, minutes=number)
            rows += [("view", user_id, item_id, time - timedelta(hours=1)) for item_id in basket]
            rows += [("purchase", user_id, item_id, time) for item_id in basket]
    return pl.DataFrame(
        rows,
        schema={EVENT_TYPE: pl.String, USER_ID: pl.String, ITEM_ID: pl.String, EVENT_TIME: TIMESTAMP},
        orient="row",
    )
