"""One text before a person, with what they need to decide."""

import json
from dataclasses import astuple, dataclass
from typing import Any

from recsys.blurbs.book import Book
from recsys.blurbs.entry import Entry
from recsys.blurbs.facts import Facts
from recsys.blurbs.judging import from_json
from recsys.blurbs.review.judgement import Occasion
from recsys.blurbs.row import Source
from recsys.blurbs.verdict import Verdict


@dataclass(frozen=True)
class Case:
    """A text, why somebody is asked about it, and how much hangs on it."""

    entry: Entry
    occasion: Occasion
    is_high_risk: bool
    """Whether its category is one of ``high_risk_categories``."""
    approvals: tuple[str, ...] = ()
    """Who has approved it already; empty for a second opinion, which is asked for without knowing."""
    complaints: tuple[str, ...] = ()
    """Why shoppers' reports took it out."""
    previous: str = ""
    """What its slot showed before, or shows meanwhile."""

    @property
    def facts(self) -> Facts:
        """What is known of the item."""
        return Facts.from_canonical(self.entry.request.facts)

    @property
    def verdict(self) -> Verdict:
        """What the gate said."""
        return from_json(self.entry.verdict)

    @property
    def risk(self) -> float:
        """From 1 to 12: doubt, three times over for what may do harm, twice for what shoppers reported."""
        harm, reports = (3.0 if self.is_high_risk else 1.0), (2.0 if self.complaints else 1.0)
        return harm * reports * (2.0 - self.verdict.score)

    @property
    def weight(self) -> float:
        """Risk times expected impressions; one that nobody was shown counts as shown once."""
        return self.risk * (1.0 + self.entry.request.priority)

    @property
    def is_models(self) -> bool:
        """Whether a model wrote it."""
        return self.entry.source is not Source.EXTRACTIVE

    def as_document(self) -> dict[str, Any]:
        """For a JSON document."""
        entry, request = self.entry, self.entry.request
        return {
            "id": entry.blurb_id,
            "occasion": self.occasion,
            "item_id": request.slot.item_id,
            "language": request.slot.language,
            "segment": request.slot.segment,
            "category": request.category,
            "text": entry.text,
            "previous": self.previous,
            "facts": json.loads(request.facts),
            "fact_ids": list(entry.fact_ids),
            "verdict": json.loads(entry.verdict or "{}"),
            "model": request.model,
            "impressions": request.priority,
            "risk": round(self.risk, 3),
            "is_high_risk": self.is_high_risk,
            "approvals": list(self.approvals),
            "complaints": list(self.complaints),
        }


def previous_text(book: Book, entry: Entry) -> str:
    """The newest other text that a slot shows or showed; ``""`` if there is none."""
    where = (
        "item_id = ? AND language = ? AND segment = ? AND length = ? AND policy = ? AND key <> ? "
        "AND state IN ('approved', 'superseded')"
    )
    found = book.entries(where, (*astuple(entry.request.slot), entry.request.key))
    return max(found, key=lambda one: one.generated_at).text if found else ""
