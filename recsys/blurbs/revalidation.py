"""Keeps texts true while items change: what still fits the new facts may stay, without any model."""

import random
from collections.abc import Callable
from dataclasses import astuple
from typing import Final

from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.book import GENERATOR, Book
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Entry
from recsys.blurbs.facts import Facts
from recsys.blurbs.generator import wall_ms
from recsys.blurbs.judging import TextGate, as_json, from_json, judge
from recsys.blurbs.lifetime import varied
from recsys.blurbs.verdict import REJECT, REVIEW, Verdict

_UPDATE: Final = """
UPDATE blurbs SET checked_hash = ?, gate_version = ?, verdict = ?, fresh_until = ?, stale_until = ?
WHERE key = ? AND blurb_id = ? AND state = 'approved'
"""


class Revalidation:
    """Checks approved texts again."""

    def __init__(
        self,
        book: Book,
        checks: TextGate,
        config: BlurbConfig,
        *,
        now_ms: Callable[[], int] = wall_ms,
        draw: random.Random | None = None,
    ) -> None:
        self._book, self._checks, self._config, self._now_ms = book, checks, config, now_ms
        self._draw = random.Random() if draw is None else draw

    def is_due(self, entry: Entry, facts: Facts) -> bool:
        """Whether the facts, the gate or time have moved on since a text was checked."""
        return (
            entry.checked_hash != facts.content_hash
            or entry.request.gate_version != self._checks.version
            or entry.fresh_until <= self._now_ms()
        )

    def check(self, entry: Entry, facts: Facts) -> bool:
        """Whether an approved text may stay; it is superseded when it may not.

        One whose facts are as they were is fresh again; one whose facts changed stays, stale, until it ends.

        Raises:
            BlurbError: The book cannot be written.
        """
        now, slot = self._now_ms(), entry.request.slot
        draft = Draft(entry.text, entry.fact_ids)
        verdict = judge(self._checks, facts, draft, slot.language, terms=self._book.revoked_terms())
        is_same = entry.request.facts_hash == facts.content_hash
        if not verdict.passed and not _may_stay(entry, verdict, is_same=is_same):
            self._book.retire(entry, now)
            return False
        fresh_until = now + varied(self._config.fresh, self._draw) if is_same else min(entry.fresh_until, now)
        stale_until = now + varied(self._config.stale, self._draw) if is_same else entry.stale_until
        values = (
            facts.content_hash,
            self._checks.version,
            as_json(verdict),
            fresh_until,
            stale_until,
            entry.request.key,
            entry.blurb_id,
        )
        with self._book.file.transaction():
            if self._book.file.change(_UPDATE, values):
                detail = {"facts": facts.canonical, "verdict": as_json(verdict)}
                self._book.file.note(
                    now, GENERATOR, "checked again", key=entry.request.key, slot=astuple(slot), detail=detail
                )
        return True


def _may_stay(entry: Entry, verdict: Verdict, *, is_same: bool) -> bool:
    """Whether a person stands for it: the gate only doubts, or says what it said when they overruled it."""
    if not entry.is_reviewed:
        return False
    overruled = _rejections(from_json(entry.verdict)) if is_same else frozenset()
    return verdict.outcome == REVIEW or _rejections(verdict) <= overruled


def _rejections(verdict: Verdict) -> frozenset[str]:
    return frozenset(reason.code for reason in verdict.reasons if reason.severity == REJECT)
