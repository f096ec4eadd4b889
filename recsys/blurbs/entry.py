"""A row of the book: one request for a blurb, and what came of it."""

import json
import sqlite3
from dataclasses import astuple, dataclass
from enum import StrEnum

from recsys.blurbs.row import BlurbRow, BlurbSlot, Source


class State(StrEnum):
    """Where a request stands; a request that is in no row is missing."""

    QUEUED = "queued"
    GENERATED = "generated"
    """Written, and not judged: a process ended in between."""
    REJECTED = "rejected"
    REVIEW = "review"
    APPROVED = "approved"
    SUPERSEDED = "superseded"
    """Another text took its slot, or its item changed and the text no longer fits."""
    REVOKED = "revoked"
    """Withdrawn; it never comes back."""


@dataclass(frozen=True)
class Request:
    """What is asked of a backend."""

    key: str
    """See ``recsys.blurbs.row.blurb_key``."""
    slot: BlurbSlot
    facts: str
    """``Facts.canonical``."""
    facts_hash: str
    category: str
    seller: str | None
    prompt_version: str
    model: str
    gate_version: str
    priority: float = 0.0
    """Expected impressions; the highest comes first."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Request":
        """From the columns of the book's table."""
        return cls(
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

    def columns(self) -> tuple[object, ...]:
        """The inverse of ``of``: key, the slot's five, and the others in their order here."""
        return (
            self.key,
            *astuple(self.slot),
            self.facts,
            self.facts_hash,
            self.category,
            self.seller,
            self.prompt_version,
            self.model,
            self.gate_version,
            self.priority,
        )


@dataclass(frozen=True)
class Job:
    """A request that this process holds, until the lease ends."""

    request: Request
    fence: int
    """Ascends with every lease: what an older holder brings is refused."""
    attempts: int
    """Times that it was rejected before."""


@dataclass(frozen=True)
class JobResult:
    """What came of a job."""

    state: State
    text: str
    source: Source
    fact_ids: tuple[str, ...]
    verdict: str
    """What the gate said, as JSON."""
    generated_at: int
    """Times are milliseconds since the epoch, UTC."""
    fresh_until: int
    stale_until: int
    retry_at: int = 0
    """When a rejected request may be tried again."""


@dataclass(frozen=True)
class Entry:
    """A row as it is read."""

    request: Request
    state: State
    text: str
    source: Source
    fact_ids: tuple[str, ...]
    verdict: str
    blurb_id: str
    generated_at: int
    fresh_until: int
    stale_until: int
    retry_at: int
    attempts: int
    checked_hash: str
    """Content hash of the facts that the text was last checked against."""
    ai_generated: bool

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Entry":
        """From the columns of the book's table."""
        return cls(
            request=Request.of(row),
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

    @property
    def is_reviewed(self) -> bool:
        """Whether a person has let the text through."""
        return self.source in {Source.GENERATED_REVIEWED, Source.HUMAN}

    def row(self) -> BlurbRow:
        """What the online store gets."""
        return BlurbRow(
            text=self.text,
            source=self.source,
            ai_generated=self.ai_generated,
            language=self.request.slot.language,
            model=self.request.model,
            prompt_version=self.request.prompt_version,
            blurb_id=self.blurb_id,
            generated_at=self.generated_at,
            fact_ids=self.fact_ids,
            fresh_until=self.fresh_until,
            stale_until=self.stale_until,
            facts_hash=self.checked_hash,
        )
