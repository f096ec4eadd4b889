"""Logs of the small shop in which visitors log in, whole and in shards of users."""

import random
from pathlib import Path

import polars as pl

from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.schema import DAY_MS, EVENT_ID, EVENT_TIME, EVENT_TYPE, ITEM_ID, MERGE_SCHEMA, USER_ID
from tests.features.small_log import ITEM_IDS
from tests.recsys.log_events import event_rows
from tests.recsys.small_catalogue import NOW

_TYPES = ("view", "click", "purchase")
_USERS = [f"user{number}" for number in range(20)] + [f"visitor{number}" for number in range(8)]


def shopping_log(path: Path, num_shards: int = 1) -> EventLog:
    """Three appends of some days each, and visitors two of whom turn out to be the same user."""
    log = EventLog(path)
    reshard(log.path, num_shards)
    for number in range(3):
        merges = pl.DataFrame(
            [
                (f"visitor{2 * number + i}", f"user{number}", NOW - (8 - 2 * number) * DAY_MS - i)
                for i in (0, 1)
            ],
            list(MERGE_SCHEMA),
            orient="row",
        )
        log.append(_events(number), f"append{number}", merges=merges.cast(MERGE_SCHEMA))
    return log


def _events(number: int) -> pl.DataFrame:
    draw = random.Random(number)
    rows = [
        (
            f"e{number}-{draw.random()}",
            draw.choice(_USERS),
            draw.choice(ITEM_IDS),
            draw.choice(_TYPES),
            NOW - draw.randrange(1, 10 * DAY_MS),
        )
        for _ in range(400)
    ]
    return event_rows([EVENT_ID, USER_ID, ITEM_ID, EVENT_TYPE, EVENT_TIME], rows)
