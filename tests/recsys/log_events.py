"""Events for logs of a few rows, of which only what matters is said."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys.event_log import EventLog
from recsys.schema import (
    DAY_MS,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    RECEIVED_TIME,
    USER_ID,
)

NOON = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
"""Milliseconds since the epoch."""
HOUR = 3_600_000
USERS = [f"user{i}" for i in range(12)]

_UNSAID = {EVENT_TYPE: "purchase", USER_ID: "u", ITEM_ID: "i", EVENT_TIME: NOON}


def event_rows(columns: Sequence[str], rows: Iterable[tuple[object, ...]]) -> pl.DataFrame:
    """Events of which some columns are given, times in milliseconds since the epoch.

    The others are purchases of ``i`` by ``u`` at noon, received when they happened; the rest is null.
    """
    given = list(rows)
    values = {column: [row[number] for row in given] for number, column in enumerate(columns)}
    frame = pl.DataFrame(values, {column: EVENT_SCHEMA[column] for column in columns})
    frame = frame.with_columns(
        pl.lit(value).cast(EVENT_SCHEMA[column]).alias(column)
        for column, value in _UNSAID.items()
        if column not in columns
    )
    if RECEIVED_TIME not in columns:
        frame = frame.with_columns(pl.col(EVENT_TIME).alias(RECEIVED_TIME))
    return pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), frame], how="diagonal")


def purchases(*rows: tuple[str, int, int]) -> pl.DataFrame:
    """Purchases of one user, by event id, event time and received time."""
    return event_rows([EVENT_ID, EVENT_TIME, RECEIVED_TIME], rows)


def daily_purchases(days: int = 3, prefix: str = "e") -> pl.DataFrame:
    """One purchase of each user a day from noon on, in another order than the log's."""
    rows = [
        (f"{prefix}{day}-{user}", user, NOON + day * DAY_MS) for day in range(days) for user in USERS[::-1]
    ]
    return event_rows([EVENT_ID, USER_ID, EVENT_TIME], rows)


def ids(frame: pl.LazyFrame) -> set[str]:
    """Of all events of a scan."""
    return set(frame.collect()[EVENT_ID])


def read(log: EventLog) -> pl.DataFrame:
    """All events of a log, by id."""
    return log.scan().sort(EVENT_ID).collect()


def files(log: Path) -> dict[str, list[tuple[object, ...]]]:
    """Rows of each file of a log, in order."""
    paths = log.glob("day=*/*")
    return {str(p.relative_to(log)): pl.read_parquet(p, hive_partitioning=False).rows() for p in paths}
