"""Between the columns of the book's table and what they mean."""

import json
import sqlite3
from dataclasses import astuple

from recsys.blurbs.entry import Entry, Request, State
from recsys.blurbs.row import BlurbSlot, Source


def added_values(request: Request) -> tuple[object, ...]:
    """The values of a new row, in the order of its columns."""
    return (
        request.key,
        *astuple(request.slot),
        request.facts,
        request.facts_hash,
        request.category,
        request.seller,
        request.prompt_version,
        request.model,
        request.gate_version,
        request.priority,
    )


def read_request(row: sqlite3.Row) -> Request:
    """The request in a row."""
    return Request(
        key=row["key"],
        slot=BlurbSlot(row["item_id"], row["language"], row["segment"], row["length"], row["policy"]),
        facts=row["facts"],
        facts_hash=row["facts_hash"],
        category=row["category"],
        seller=row["seller"],
        prompt_version=row["prompt_version"],
        model=row["model"],
        gate_version=row["gate_version"],
        priority=row["priority"],
    )


def read_entry(row: sqlite3.Row) -> Entry:
    """All of a row."""
    return Entry(
        request=read_request(row),
        state=State(row["state"]),
        text=row["text"],
        source=Source(row["source"]),
        fact_ids=tuple(json.loads(row["fact_ids"])),
        verdict=row["verdict"],
        blurb_id=row["blurb_id"],
        generated_at=row["generated_at"],
        fresh_until=row["fresh_until"],
        stale_until=row["stale_until"],
        retry_at=row["retry_at"],
        attempts=row["attempts"],
        checked_hash=row["checked_hash"],
        ai_generated=bool(row["ai_generated"]),
    )
