"""The book's audit as a feed: short batches of what changed, and what among the new lines must not wait."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from recsys.blurbs.book import Book
from recsys.blurbs.review.judgement import Decision, action
from recsys.blurbs.row import BlurbSlot

_LAST: Final = "SELECT COALESCE(MAX(sequence), 0) FROM audit"
_BATCH: Final = "SELECT sequence, slot FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?"
_URGENT: Final = """
SELECT DISTINCT action, slot FROM audit WHERE sequence > ? AND sequence <= ?
AND action NOT IN ('queued', 'generated', 'approved', 'rejected', 'checked again', 'run')
"""
_APPROVALS: Final = frozenset({action(Decision.APPROVED), action(Decision.EDITED)})


@dataclass(frozen=True)
class Urgent:
    """What some lines say that must not wait."""

    until: int
    """The last of the lines."""
    is_any: bool = False
    slots: frozenset[BlurbSlot] = frozenset()
    approved: frozenset[BlurbSlot] = frozenset()
    """Those in which a person approved a text."""


class BlurbFeed:
    """Reads one book; every method raises ``BlurbError`` where it cannot be read."""

    def __init__(self, book: Book) -> None:
        """Read a book that stays the caller's to close."""
        self._book = book

    def batch(self, since: int, most: int) -> tuple[int, set[BlurbSlot]]:
        """The number of the last of the next lines, ``since`` where there are none, and their slots.

        Args:
            since: The last line before them.
            most: Most lines.
        """
        found = self._book.file.rows(_BATCH, (since, most))
        return (int(found[-1]["sequence"]) if found else since), _slots(row["slot"] for row in found)

    def urgent(self, since: int) -> Urgent:
        """What all lines above ``since`` say of withdrawals, switches and decisions."""
        until = int(self._book.file.rows(_LAST)[0][0])
        found = self._book.file.rows(_URGENT, (since, until)) if until > since else []
        return Urgent(
            until,
            bool(found),
            frozenset(_slots(row["slot"] for row in found)),
            frozenset(_slots(row["slot"] for row in found if row["action"] in _APPROVALS)),
        )


def _slots(lines: Iterable[str | None]) -> set[BlurbSlot]:
    return {BlurbSlot(*json.loads(line)) for line in lines if line is not None}
