"""What people said about texts, as the audit tells it; nothing is kept anywhere else."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from recsys.blurbs.book import Book

REASONS: Final = {
    "untrue": "contradicts the facts",
    "unsupported": "says what no fact says",
    "claim": "claims what would have to be proven",
    "dated": "price, stock, delivery, rating or another thing that changes",
    "offensive": "insults, or sorts people",
    "personal": "speaks of a person or to one",
    "language": "wrong language, or bad grammar",
    "style": "true, but nobody would want to read it",
    "item_blocked": "no text about this item at all",
    "other": "something else; needs a note",
}
"""Codes of a rejection."""

_PREFIX: Final = "review "


class Decision(StrEnum):
    """What somebody said."""

    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"


class Occasion(StrEnum):
    """Why somebody was asked."""

    WAITING = "waiting"
    """The text waits for a person."""
    SAMPLE = "sample"
    """The gate let it through, and people look at a few of those."""
    DOUBLE = "double"
    """Somebody else has decided, and a second person says what they think without knowing."""


@dataclass(frozen=True)
class Judgement:
    """One line of the audit that a reviewer wrote."""

    time: int
    """Milliseconds since the epoch, UTC."""
    reviewer: str
    decision: Decision
    occasion: Occasion
    reason: str
    """A code of ``REASONS``, or why the gate was overruled."""
    key: str
    blurb_id: str
    """The text that was judged."""
    result_id: str
    """The text that came of it; another one after an edit."""
    is_final: bool
    """Whether this decided; not for the first of two approvals, nor for a second opinion that agrees."""


def judgements(book: Book, key: str | None = None) -> list[Judgement]:
    """All judgements, or those of one key, oldest first.

    Raises:
        BlurbError: The book cannot be read.
    """
    where = "1" if key is None else "key = ?"
    query = f"SELECT * FROM audit WHERE action LIKE '{_PREFIX}%' AND {where} ORDER BY sequence"
    return [
        Judgement(
            time=row["time"],
            reviewer=row["actor"],
            decision=Decision(row["action"].removeprefix(_PREFIX)),
            occasion=Occasion(detail["occasion"]),
            reason=detail["reason"],
            key=row["key"],
            blurb_id=detail["before"]["blurb_id"],
            result_id=detail["after"]["blurb_id"],
            is_final=detail["is_final"],
        )
        for row in book.file.rows(query, () if key is None else (key,))
        for detail in [json.loads(row["detail"])]
    ]


def action(decision: Decision) -> str:
    """The audit's word for a decision."""
    return f"{_PREFIX}{decision}"


def approvers(said: list[Judgement], blurb_id: str) -> tuple[str, ...]:
    """Who let exactly this text through, or edited it so, since it was last decided, in their order.

    A text that was decided and waits again, as after reports by shoppers, begins without approvals.
    """
    names: list[str] = []
    for one in said:
        if one.is_final:
            names.clear()
        elif one.occasion is Occasion.WAITING and one.result_id == blurb_id:
            names.append(one.reviewer)
    return tuple(dict.fromkeys(names))


def complaints(book: Book, key: str) -> list[str]:
    """Why shoppers' reports took a text out, oldest first; see ``recsys.blurbs.complaints``."""
    query = "SELECT detail FROM audit WHERE key = ? AND action = 'reported' ORDER BY sequence"
    return [str(json.loads(row[0])) for row in book.file.rows(query, (key,))]
