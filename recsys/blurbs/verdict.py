"""What the gate says of a text: whether it may be published, why not, and where."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["pass", "review", "reject"]
Severity = Literal["review", "reject"]

PASS: Final = "pass"
REVIEW: Final = "review"
REJECT: Final = "reject"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks against a text.

    Attributes:
        code: What it is, in snake case; docs/blurbs.md lists all codes.
        evidence: The words of the text that show it, or a short statement where no words do.
        start: Where these words begin, in characters of the text.
        end: Where they end, exclusive; equal to ``start`` when the reason is about the text as a whole.
        severity: ``review`` when a person may still approve the text, else ``reject``.
    """

    code: str
    evidence: str
    start: int = 0
    end: int = 0
    severity: Severity = REJECT


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision on one text.

    Attributes:
        outcome: ``pass``, ``review`` or ``reject``: the worst severity among the reasons.
        reasons: All that was found, by place in the text.
        score: How far the text is supported, in [0, 1]: 0 when rejected, else the share of its content words
            that the facts support.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    score: float = 1.0

    @property
    def passed(self) -> bool:
        """Whether the text may be published without a person reading it."""
        return self.outcome == PASS

    @classmethod
    def of(cls, reasons: Iterable[Reason], support: float = 1.0) -> "Verdict":
        """Decide by the reasons found.

        Args:
            reasons: What speaks against the text.
            support: Share of its content words that the facts support, in [0, 1].
        """
        found = tuple(sorted(set(reasons), key=lambda reason: (reason.start, reason.end, reason.code)))
        severities = {reason.severity for reason in found}
        if REJECT in severities:
            return cls(REJECT, found, 0.0)
        return cls(REVIEW, found, min(support, 0.99)) if found else cls(PASS, (), support)
