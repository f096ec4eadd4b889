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
from recsys.blurbs.judging import Checks, as_json, judge
from recsys.blurbs.lifetime import varied
from recsys.blurbs.revocation import revoked_terms

_UPDATE: Final = """
UPDATE blurbs SET checked_hash = ?, gate_version = ?, verdict = ?, fresh_until = ?, stale_until = ?
WHERE key = ? AND state = 'approved'
"""


class Revalidation:
    """Checks approved texts again."""

    def __init__(
        self,
        book: Book,
        checks: Checks,
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
        verdict = judge(self._checks, facts, draft, slot.language, terms=revoked_terms(self._book))
        if not verdict.passed and not (entry.is_reviewed and verdict.outcome == "review"):
            self._book.supersede(slot, now, GENERATOR)
            return False
        is_same = entry.request.facts_hash == facts.content_hash
        fresh_until = now + varied(self._config.fresh, self._draw) if is_same else min(entry.fresh_until, now)
        stale_until = now + varied(self._config.stale, self._draw) if is_same else entry.stale_until
        values = (
            facts.content_hash,
            self._checks.version,
            as_json(verdict),
            fresh_until,
            stale_until,
            entry.request.key,
        )
        with self._book.file.transaction():
            if self._book.file.change(_UPDATE, values):
                detail = {"facts": facts.canonical, "verdict": as_json(verdict)}
                self._book.file.note(
                    now, GENERATOR, "checked again", key=entry.request.key, slot=astuple(slot), detail=detail
                )
        return True
