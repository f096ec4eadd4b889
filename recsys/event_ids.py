"""Ids for events that come without one."""

import hashlib

import numpy as np
import polars as pl

from recsys.schema import (
    EVENT_ID,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    LIST_ID,
    POSITION,
    PRICE,
    QUANTITY,
    SESSION_ID,
    TEXT,
    USER_ID,
)

_IDENTIFYING = (
    EVENT_TYPE,
    USER_ID,
    ITEM_ID,
    EVENT_TIME,
    SESSION_ID,
    QUANTITY,
    PRICE,
    LIST_ID,
    POSITION,
    TEXT,
)
_HEX_DIGITS = 32
_SEPARATOR = "\x1f"


def with_event_ids(events: pl.DataFrame) -> pl.DataFrame:
    """Fill absent event ids with a hash of what the event says, the same on every machine and version.

    Two events that agree in everything but ``received_time`` get one id. Numbers enter by their 64 bits,
    times as milliseconds, so that no formatting takes part.

    Args:
        events: Columns of ``EVENT_SCHEMA``; numbers are null or finite.
    """
    absent = events[EVENT_ID].is_null()
    if not absent.any():
        return events
    hashes = [hashlib.sha256(key.encode()).hexdigest()[:_HEX_DIGITS] for key in _keys(events.filter(absent))]
    places = absent.cast(pl.Int64).cum_sum() - 1  # signed: -1 before the first absent one, and not used there
    derived = pl.Series(hashes, dtype=pl.String).gather(places.clip(0))
    return events.with_columns(pl.col(EVENT_ID).fill_null(derived))


def _keys(events: pl.DataFrame) -> pl.Series:
    numbers = [_bits(events[name]) for name in (QUANTITY, PRICE)]
    whole = events.with_columns(pl.col(EVENT_TIME).dt.timestamp("ms"), *numbers)
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in _IDENTIFYING]
    return whole.select(key=pl.concat_str(parts, separator=_SEPARATOR))["key"]


def _bits(numbers: pl.Series) -> pl.Series:
    bits = (numbers.fill_null(0.0).to_numpy() + 0.0).view(np.int64)  # adding 0 turns -0 into 0
    return pl.select(pl.when(numbers.is_not_null()).then(pl.Series(bits)).alias(numbers.name)).to_series()
