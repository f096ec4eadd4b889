"""The quality report of one book: everything that the page and the table show."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from recsys.blurbs.book import Book
from recsys.blurbs.entry import Entry
from recsys.blurbs.facts import Facts
from recsys.blurbs.judging import TextGate
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.quality.corruption import Corruptor
from recsys.blurbs.quality.detection import Detection, detection
from recsys.blurbs.quality.diversity import Diversity, diversity
from recsys.blurbs.quality.history import Cost, Judged, PassRate, cost, judged_texts, pass_rate
from recsys.blurbs.quality.overlap import Overlap, overlap
from recsys.blurbs.quality.reading import lix, tokens, told_share
from recsys.blurbs.review.agreement import Agreement, SampleCheck, agreement, sample_check
from recsys.blurbs.review.judgement import judgements
from recsys.blurbs.row import Source

ANYBODY: Final = "everybody"
_SEED: Final = 7


@dataclass(frozen=True)
class Group:
    """Approved texts that have a language or a segment in common."""

    name: str
    num_texts: int
    mean_chars: float
    lix: float
    """Mean readability, see ``recsys.blurbs.quality.reading``."""
    told: float | None
    """Mean share of an item's key facts that its text tells, in [0, 1]; ``None`` where none has any."""
    rejected: float | None
    """Share of the judged texts that did not pass, in [0, 1]; ``None`` where none was judged."""
    diversity: Diversity


@dataclass(frozen=True)
class Review:
    """What people did."""

    num_waiting: int
    decisions: dict[str, int]
    sample: SampleCheck
    agreement: Agreement


@dataclass(frozen=True)
class QualityReport:
    """What is known of a book's texts."""

    states: dict[str, int]
    sources: dict[str, int]
    """Approved texts by where their words come from."""
    models: PassRate
    """Texts by models."""
    own_words: PassRate
    """The shop's own words."""
    detection: list[Detection]
    languages: list[Group]
    segments: list[Group]
    overlap: Overlap | None
    cost: Cost
    review: Review

    @property
    def fallback(self) -> float | None:
        """Share of the filled slots that have the shop's own words, in [0, 1]; ``None`` without any."""
        total = sum(self.sources.values())
        return self.sources.get(Source.EXTRACTIVE, 0) / total if total else None


def quality_report(book: Book, checks: TextGate, lexicons: Lexicons, sample: int) -> QualityReport:
    """Measure a book.

    Args:
        book: The texts.
        checks: The shop's gate.
        lexicons: The shop's.
        sample: Most texts that false ones are made of, drawn at random.

    Raises:
        BlurbError: The book cannot be read.
    """
    approved = book.entries("state = 'approved' AND text <> ''")
    said, judged = judgements(book), judged_texts(book)
    states = Counter(str(row[0]) for row in book.file.rows("SELECT state FROM blurbs"))
    return QualityReport(
        states=dict(states.most_common()),
        sources=dict(Counter(str(entry.source) for entry in approved).most_common()),
        models=pass_rate(one for one in judged if one.source is not Source.EXTRACTIVE),
        own_words=pass_rate(one for one in judged if one.source is Source.EXTRACTIVE),
        detection=_detection(approved, checks, lexicons, sample),
        languages=_groups(approved, judged, lexicons, by_segment=False),
        segments=_groups(approved, judged, lexicons, by_segment=True),
        overlap=overlap(_described(approved)),
        cost=cost(book),
        review=Review(
            num_waiting=states["review"],
            decisions=dict(Counter(str(one.decision) for one in said).most_common()),
            sample=sample_check(said),
            agreement=agreement(said),
        ),
    )


def _detection(
    approved: Sequence[Entry], checks: TextGate, lexicons: Lexicons, sample: int
) -> list[Detection]:
    facts = [Facts.from_canonical(entry.request.facts) for entry in approved]
    drawn = random.Random(_SEED).sample(list(approved), min(sample, len(approved)))
    return detection(drawn, checks, Corruptor.of(facts, lexicons))


def _described(approved: Sequence[Entry]) -> list[tuple[str, str]]:
    """Texts by models with the descriptions of their items."""
    pairs = (
        (entry.text, Facts.from_canonical(entry.request.facts).description)
        for entry in approved
        if entry.source is not Source.EXTRACTIVE
    )
    return [pair for pair in pairs if pair[1]]


def _groups(
    approved: Sequence[Entry], judged: Sequence[Judged], lexicons: Lexicons, *, by_segment: bool
) -> list[Group]:
    field = "segment" if by_segment else "language"
    names = sorted({getattr(entry.request.slot, field) for entry in approved})
    return [
        _group(
            name or ANYBODY,
            [entry for entry in approved if getattr(entry.request.slot, field) == name],
            [one for one in judged if getattr(one.slot, field) == name],
            lexicons,
        )
        for name in names
    ]


def _group(name: str, entries: Sequence[Entry], judged: Sequence[Judged], lexicons: Lexicons) -> Group:
    texts = [entry.text for entry in entries]
    told = [
        share
        for entry in entries
        for share in [
            told_share(
                entry.text,
                Facts.from_canonical(entry.request.facts),
                entry.request.slot.language,
                lexicons,
            )
        ]
        if share is not None
    ]
    worded = [text for text in texts if tokens(text)]
    return Group(
        name=name,
        num_texts=len(entries),
        mean_chars=fmean(map(len, texts)),
        lix=fmean(map(lix, worded)) if worded else 0.0,
        told=fmean(told) if told else None,
        rejected=1 - pass_rate(judged).passed if judged else None,
        diversity=diversity(texts),
    )
