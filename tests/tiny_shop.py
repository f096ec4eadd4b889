"""A shop whose right answers are known: a checkerboard with the diagonal withheld.

Five groups of six items. A user buys only from the own group and every known item once in 14 days. Six users
of each group know all its items but one, each lacks another one, and buys it for the first time after the
cut: so their five come first, the withheld one is the best of what is new, and the items of other groups come
last. Six more users per label window of the ranker found their last item in it; they are what there is to
learn from. At first everybody also buys one item of another group, a habit long given up. And one item
belongs to the coffee group by its words alone: nobody ever buys it.
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
    "coffee": ("espresso", "arabica", "filter", "decaf", "mocha", "ristretto"),
    "garden": ("spade", "rake", "hose", "seed", "soil", "trellis"),
    "bicycle": ("saddle", "pedal", "chain", "brake", "helmet", "tyre"),
    "music": ("guitar", "violin", "drum", "flute", "piano", "harp"),
    "paint": ("brush", "canvas", "easel", "pastel", "gouache", "ink"),
}
NEW_ITEM = "coffee-new"
"""Bought by nobody; only its words say what it is."""
GROUP_SIZE = 6
START = datetime(2024, 1, 1, tzinfo=UTC)
CUT_DAY = 154
CUT = START + timedelta(days=CUT_DAY)
"""End of the history and start of the test window."""
CUT_MS = round(CUT.timestamp() * 1000)
TEST_DAYS = 14

_LAST_ITEM_DAYS = [day for day in (CUT_DAY, 112, 126, 140) for _ in range(GROUP_SIZE)]
"""Day on which each user of a group begins to buy the own last item."""
_HABIT_DAYS = 70
"""So long, each user also buys one item of another group."""


@dataclass(frozen=True)
class TinyShop:
    """The data, and what a recommender should make of it."""

    items: pl.DataFrame
    history: pl.DataFrame
    """Events before the cut."""
    future: pl.DataFrame
    """Events of the test window."""
    regular: dict[str, list[str]]
    """Items bought until the cut, for the users who lack one."""
    withheld: dict[str, str]
    """The one item of the group that such a user first buys after the cut."""


def group_of(item_or_user_id: str) -> str:
    """The group that an id belongs to."""
    return item_or_user_id.partition("-")[0]


def tiny_shop() -> TinyShop:
    """Make the shop; the same one every time."""
    users = [(group, number) for group in GROUPS for number in range(len(_LAST_ITEM_DAYS))]
    events = pl.concat([_events_of(seed, *user) for seed, user in enumerate(users)])
    lacking = {_user_id(*user): _order(*user) for user in users if user[1] < GROUP_SIZE}
    return TinyShop(
        items=_items(),
        history=events.filter(pl.col(EVENT_TIME) < CUT),
        future=events.filter(pl.col(EVENT_TIME) >= CUT),
        regular={user_id: order[:-1] for user_id, order in lacking.items()},
        withheld={user_id: order[-1] for user_id, order in lacking.items()},
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
            num_head_steps=150,
            num_tuning_steps=10,
            validate_every=50,
            learning_rate=1e-2,
        ),
        candidates=CandidateConfig(
            own=50, text=50, co_occurrence=50, popular=20, trending=20, similar=4, neighbours=10
        ),
        ranker=RankerConfig(
            label_window=timedelta(days=14),
            num_windows=3,
            num_visits=40,
            num_unknown=0,
            num_negatives=40,
            num_trees=40,
            num_leaves=7,
            learning_rate=0.2,
            min_data_in_leaf=10,
            patience=10,
        ),
    )


def quick_config(config: Config) -> Config:
    """Few windows, decisions and trees behind the same encoder: for tests of what is not learned."""
    few = {"num_windows": 2, "num_visits": 10, "num_trees": 10}
    return config.model_copy(update={"ranker": config.ranker.model_copy(update=few)})


def few_steps(config: Config) -> Config:
    """Hardly any training of the encoder."""
    steps = {"num_head_steps": 10, "num_tuning_steps": 2, "validate_every": 5}
    return config.model_copy(update={"encoder": config.encoder.model_copy(update=steps)})


def _user_id(group: str, number: int) -> str:
    return f"{group}-user{number}"


def _order(group: str, number: int) -> list[str]:
    """The group's items, the one that the user comes to last at the end."""
    return [f"{group}-{(number + step) % GROUP_SIZE}" for step in range(1, GROUP_SIZE + 1)]


def _items() -> pl.DataFrame:
    rows = [
        {
            ITEM_ID: f"{group}-{i}",
            TITLE: f"{word} {group}",
            BRAND: f"{group} house" if i % 2 else None,
            PRICE: 2.0 + i,
        }
        for group, words in GROUPS.items()
        for i, word in enumerate(words)
    ]
    rows.append({ITEM_ID: NEW_ITEM, TITLE: "espresso crema coffee", BRAND: "coffee house", PRICE: 9.0})
    described = [
        row
        | {
            DESCRIPTION: f"for all who love {group_of(str(row[ITEM_ID]))}",
            CATEGORY: ["shop", group_of(str(row[ITEM_ID]))],
        }
        for row in rows
    ]
    return pl.DataFrame(described, schema_overrides={BRAND: pl.String, PRICE: pl.Float64})


def _events_of(seed: int, group: str, number: int) -> pl.DataFrame:
    """A basket a week, and two in a row hold each item once; one item is looked at an hour before."""
    random, user_id = np.random.default_rng(seed), _user_id(group, number)
    *known, last = _order(group, number)
    names = list(GROUPS)
    habit = f"{names[names.index(group) - 1]}-{number % GROUP_SIZE}"
    rows = []
    for day in range(seed % 7, CUT_DAY + TEST_DAYS, 14):
        mine = [*known, *[last] * (day >= _LAST_ITEM_DAYS[number]), *[habit] * (day < _HABIT_DAYS)]
        random.shuffle(mine)
        for week, basket in enumerate((mine[::2], mine[1::2])):
            time = START + timedelta(days=day + 7 * week, hours=9, minutes=seed % 60)
            rows += [("view", user_id, basket[0], time - timedelta(hours=1))]
            rows += [("purchase", user_id, item_id, time) for item_id in basket]
    return pl.DataFrame(
        rows,
        schema={EVENT_TYPE: pl.String, USER_ID: pl.String, ITEM_ID: pl.String, EVENT_TIME: TIMESTAMP},
        orient="row",
    )
