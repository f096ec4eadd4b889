"""Decides on a backend's draft: the gate, and what only the pipeline knows: canaries and withdrawn terms."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Protocol, runtime_checkable

import structlog

from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.facts import Facts
from recsys.blurbs.term import terms_in
from recsys.blurbs.verdict import Reason, Verdict

_log = structlog.get_logger(__name__)


@runtime_checkable
class TextGate(Protocol):
    """What is asked of ``recsys.blurbs.gate.Gate``."""

    @property
    def version(self) -> str:
        """Version of the checks and their lexicons."""
        ...

    def check(self, facts: Facts, text: str, language: str, others: Sequence[str] = ()) -> Verdict:
        """Decide on one text; ``others`` are texts of the same category."""
        ...


def judge(
    checks: TextGate,
    facts: Facts,
    draft: Draft,
    language: str,
    *,
    canary: str = "",
    terms: Sequence[str] = (),
    withdrawn: Collection[str] = (),
    others: Sequence[str] = (),
) -> Verdict:
    """The verdict on a draft. When the gate itself fails, the text is rejected.

    Args:
        checks: The gate.
        facts: What is known of the item.
        draft: The text.
        language: BCP 47, what was asked for.
        canary: A word of the prompt's that must not come back; ``""`` for none.
        terms: Words and phrases that were withdrawn.
        withdrawn: Texts of the item that were withdrawn.
        others: Texts of the same category.
    """
    if canary and canary.casefold() in draft.text.casefold():
        _log.error("a model repeated the canary of its prompt: item text may be steering it")
        return Verdict.of([Reason("canary", canary, 0, len(draft.text))])
    if draft.fault:
        return Verdict.of([Reason(draft.fault, "the backend's answer is no whole sentence")])
    reasons = [Reason("withdrawn_term", term) for term in terms_in(draft.text, terms)]
    if draft.text in withdrawn:
        reasons.append(Reason("withdrawn_text", "this text was withdrawn"))
    try:
        verdict = checks.check(facts, draft.text, language, others)
    except Exception as error:  # noqa: BLE001  # whatever breaks, nothing is published unchecked
        _log.error("the gate failed, and the text is rejected", error=type(error).__name__)
        return Verdict.of([*reasons, Reason("gate_failed", type(error).__name__)])
    return Verdict.of([*reasons, *verdict.reasons]) if reasons else verdict


def as_json(verdict: Verdict) -> str:
    """A verdict as the book keeps it."""
    return json.dumps(asdict(verdict), ensure_ascii=False)


def from_json(text: str) -> Verdict:
    """The inverse of ``as_json``; of ``""``, a text that nothing was said of, a rejection."""
    if not text:
        return Verdict.of([Reason("unchecked", "the gate has said nothing of this text")])
    given = json.loads(text)
    return Verdict(**given | {"reasons": tuple(Reason(**reason) for reason in given["reasons"])})
