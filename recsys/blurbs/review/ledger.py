"""Writes decisions into the book: each is one transaction with its line in the audit, or nothing."""

import json
import random
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Final

from recsys.blurbs.book import Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Entry, State
from recsys.blurbs.lifetime import varied
from recsys.blurbs.review.case import Case
from recsys.blurbs.review.judgement import Decision, action
from recsys.errors import BlurbError

_WRITE: Final = """
UPDATE blurbs SET state = ?, text = ?, source = ?, fact_ids = ?, verdict = ?, blurb_id = ?,
    checked_hash = facts_hash, gate_version = ?, fresh_until = ?, stale_until = ?, lease_until = 0, fence = 0
WHERE key = ? AND blurb_id = ? AND state = ?
"""


@dataclass(frozen=True)
class Step:
    """One decision on its way into the book.

    Attributes:
        decision: What was said.
        entry: The row as it shall be.
        reason: A code, or why the gate was overruled.
        gate_version: The gate that the text was checked by.
        note: In the reviewer's own words.
        is_final: Whether this decides, see ``Judgement``.
    """

    decision: Decision
    entry: Entry
    reason: str
    gate_version: str
    note: str = ""
    is_final: bool = True


class Ledger:
    """One reviewer's pen."""

    def __init__(
        self, book: Book, config: BlurbConfig, reviewer: str, now_ms: Callable[[], int], draw: random.Random
    ) -> None:
        self._book, self._config, self.reviewer, self._now_ms, self._draw = (
            book,
            config,
            reviewer,
            now_ms,
            draw,
        )

    def write(self, case: Case, step: Step) -> Entry:
        """Write a decision down.

        Raises:
            BlurbError: Somebody else changed the text since the case was read.
        """
        now, before, after = self._now_ms(), case.entry, step.entry
        if after.state is State.APPROVED and step.is_final:
            fresh, stale = (varied(each, self._draw) for each in (self._config.fresh, self._config.stale))
            after = replace(after, fresh_until=now + fresh, stale_until=now + stale)
        slot = before.request.slot
        with self._book.file.transaction():
            if not self._book.file.change(_WRITE, _values(before, after, step.gate_version)):
                raise BlurbError(f"the text {before.blurb_id} was changed meanwhile; look at it again")
            if after.state is State.APPROVED:
                self._check_withdrawals(after)
                self._book.supersede(slot, now, self.reviewer, but=before.request.key)
            self._book.file.note(
                now,
                self.reviewer,
                action(step.decision),
                key=before.request.key,
                slot=astuple(slot),
                detail=_detail(case, after, step),
            )
        return after

    def _check_withdrawals(self, after: Entry) -> None:
        if reasons := self._book.withdrawals(after.request.slot.item_id, after.text):
            told = ", ".join(f"{reason.code} ({reason.evidence})" for reason in reasons)
            raise BlurbError(f"the text was withdrawn meanwhile: {told}; nobody overrules that")


def _values(before: Entry, after: Entry, gate_version: str) -> tuple[object, ...]:
    return (
        after.state,
        after.text,
        after.source,
        json.dumps(after.fact_ids),
        after.verdict,
        after.blurb_id,
        gate_version,
        after.fresh_until,
        after.stale_until,
        before.request.key,
        before.blurb_id,
        before.state,
    )


def _detail(case: Case, after: Entry, step: Step) -> dict[str, object]:
    request = case.entry.request
    return {
        "occasion": case.occasion,
        "reason": step.reason,
        "note": step.note,
        "is_final": step.is_final,
        "author": _author(case, step),
        "before": _told(case.entry),
        "after": _told(after),
        "model": request.model,
        "prompt_version": request.prompt_version,
        "gate_version": step.gate_version,
        "facts": request.facts,
    }


def _author(case: Case, step: Step) -> str:
    """Whose words come of a decision."""
    if step.decision is Decision.EDITED:
        return "human+ai" if case.entry.ai_generated else "human"
    return "ai" if case.entry.ai_generated else "shop"


def _told(entry: Entry) -> dict[str, object]:
    return {
        "state": entry.state,
        "text": entry.text,
        "source": entry.source,
        "blurb_id": entry.blurb_id,
        "verdict": entry.verdict,
    }
