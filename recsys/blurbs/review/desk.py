"""Where a reviewer decides: who may, and what the gate has to say first."""

import random
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from recsys.blurbs.backends.answer import facts_in
from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.book import Book
from recsys.blurbs.checks.form import num_graphemes
from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Entry, State
from recsys.blurbs.generator import wall_ms
from recsys.blurbs.judging import TextGate, as_json, judge
from recsys.blurbs.prompt import Task
from recsys.blurbs.review.case import Case
from recsys.blurbs.review.judgement import REASONS, Decision, Occasion
from recsys.blurbs.review.ledger import Ledger, Step
from recsys.blurbs.review.queue import is_same
from recsys.blurbs.revocation import switch
from recsys.blurbs.row import LENGTHS, Source, blurb_id
from recsys.blurbs.verdict import REJECT, Verdict
from recsys.errors import BlurbError

NEVER: Final = frozenset(
    {
        "empty",
        "gate_error",
        "gate_failed",
        "hidden_characters",
        "markup",
        "not_normalised",
        "too_long",
        "unknown_language",
        "withdrawn_term",
        "withdrawn_text",
    }
)
"""What no person overrules: the text could not be shown, was withdrawn, or was not checked."""


class Desk:
    """One reviewer at one book; every decision raises ``BlurbError`` when it is not theirs to make."""

    def __init__(
        self,
        book: Book,
        checks: TextGate,
        config: BlurbConfig,
        reviewer: str,
        *,
        now_ms: Callable[[], int] = wall_ms,
        draw: random.Random | None = None,
    ) -> None:
        if not reviewer.strip():
            raise BlurbError("a reviewer needs a name; give --reviewer")
        self.reviewer, self.checks = reviewer.strip(), checks
        self._book, self._config, self._now_ms = book, config, now_ms
        drawn = random.Random() if draw is None else draw
        self._ledger = Ledger(book, config, self.reviewer, now_ms, drawn)

    def approve(self, case: Case, why: str = "") -> Entry:
        """Let a text through as it is.

        Args:
            case: The text.
            why: Why the gate is overruled, if by now it rejects the text.
        """
        self._check_person(case)
        if case.occasion is Occasion.DOUBLE:
            return self._ledger.write(
                case, Step(Decision.APPROVED, case.entry, why, self.checks.version, is_final=False)
            )
        return self._let_through(case, Decision.APPROVED, case.entry.text, why)

    def edit(self, case: Case, text: str, why: str = "") -> Entry:
        """Let another text through instead; the gate is asked again.

        Args:
            case: The text as it was.
            text: As it shall be.
            why: Why the gate is overruled, if it rejects the new text.
        """
        text = " ".join(unicodedata.normalize("NFC", text).split())
        if case.occasion is Occasion.DOUBLE:
            raise BlurbError("a second opinion approves or rejects; the text is another person's to edit")
        if text == case.entry.text:
            return self.approve(case, why)
        return self._let_through(case, Decision.EDITED, text, why)

    def reject(self, case: Case, reason: str, note: str = "") -> Entry:
        """Withdraw a text for good; neither it nor the request for it comes back.

        Args:
            case: The text.
            reason: A code of ``REASONS``.
            note: In the reviewer's own words.
        """
        if reason not in REASONS:
            raise BlurbError(f"expected a reason of {', '.join(REASONS)}, got {reason!r}")
        if reason == "other" and not note.strip():
            raise BlurbError("the reason `other` needs a note that says what is wrong")
        if case.occasion is Occasion.DOUBLE:
            self._check_person(case)
        is_new = case.entry.state is not State.REVOKED
        entry = replace(case.entry, state=State.REVOKED)
        return self._ledger.write(
            case, Step(Decision.REJECTED, entry, reason, self.checks.version, note, is_final=is_new)
        )

    def block(self, case: Case, note: str = "") -> Entry:
        """Reject a text, and show none about its item until ``recsys blurbs on item`` says so."""
        entry = self.reject(case, "item_blocked", note)
        item_id = case.entry.request.slot.item_id
        switch(self._book, "item", item_id, self._now_ms(), self.reviewer, on=False)
        return entry

    def judged(self, case: Case, text: str) -> Verdict:
        """What the gate says of a text for a case, now."""
        entry = case.entry
        withdrawn = self._book.revoked_texts(entry.request.slot.item_id)
        return judge(
            self.checks,
            case.facts,
            Draft(text, entry.fact_ids),
            entry.request.slot.language,
            terms=self._book.revoked_terms(),
            withdrawn=withdrawn,
        )

    def _let_through(self, case: Case, decision: Decision, text: str, why: str) -> Entry:
        verdict = self.judged(case, text)
        self._check_gate(case, text, verdict, why)
        approvals = {self.reviewer} | (set(case.approvals) if decision is Decision.APPROVED else set())
        is_final = len(approvals) >= self._num_needed(case)
        entry = replace(
            case.entry,
            state=State.APPROVED if is_final else State.REVIEW,
            text=text,
            source=Source.GENERATED_REVIEWED if case.is_models else Source.HUMAN,
            fact_ids=case.entry.fact_ids if text == case.entry.text else _facts_in(case, text),
            verdict=as_json(verdict),
            blurb_id=blurb_id(case.entry.request.key, text),
        )
        if not is_final:
            entry = replace(entry, source=case.entry.source)
        return self._ledger.write(case, Step(decision, entry, why, self.checks.version, is_final=is_final))

    def _num_needed(self, case: Case) -> int:
        """How many people have to approve."""
        is_risky = case.is_high_risk and case.is_models and case.occasion is Occasion.WAITING
        return self._config.reviewers if is_risky else 1

    def _check_person(self, case: Case) -> None:
        if is_same(self.reviewer, case.approvals):
            raise BlurbError(
                f"{self.reviewer} has approved this text already, and {case.entry.request.category} "
                "needs two people: somebody else has to approve it"
            )

    def _check_gate(self, case: Case, text: str, verdict: Verdict, why: str) -> None:
        most = LENGTHS[case.entry.request.slot.length]
        if num_graphemes(text) > most:
            raise BlurbError(f"the text has {num_graphemes(text)} characters, expected {most} at most")
        codes = sorted({reason.code for reason in verdict.reasons if reason.severity == REJECT})
        if hard := NEVER.intersection(codes):
            raise BlurbError(
                f"the gate rejects the text for {', '.join(sorted(hard))}; nobody overrules that"
            )
        if codes and not why.strip():
            raise BlurbError(
                f"the gate rejects the text for {', '.join(codes)}; change it, or say why it is right"
            )


def _facts_in(case: Case, text: str) -> tuple[str, ...]:
    slot = case.entry.request.slot
    return facts_in(text, Task(case.facts, slot.language, slot.length))
