"""Tests of derived event ids."""

from datetime import UTC, datetime

import polars as pl
import pytest

from recsys.event_ids import with_event_ids
from recsys.schema import EVENT_ID, EVENT_SCHEMA


def events(ids: list[str | None]) -> pl.DataFrame:
    """Views that differ in their item."""
    time = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {EVENT_ID: id_, "event_type": "view", "user_id": "u", "item_id": f"i{n}", "event_time": time}
        for n, id_ in enumerate(ids)
    ]
    return pl.DataFrame(rows, schema=dict(EVENT_SCHEMA))


@pytest.mark.parametrize("pattern", ["a..", "ab.", ".b.", "..c", "a.c", "ab..ef"])
def test_given_ids_stay_and_absent_ones_are_filled_wherever_they_stand(pattern: str) -> None:
    given = [None if letter == "." else letter for letter in pattern]
    filled = with_event_ids(events(given))[EVENT_ID].to_list()
    alone = with_event_ids(events([None] * len(given)))[EVENT_ID].to_list()
    assert filled == [own or derived for own, derived in zip(given, alone, strict=True)]
