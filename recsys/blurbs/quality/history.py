"""What the audit tells of the making of texts: what the gate said of each, and what the runs cost."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from recsys.blurbs.book import GENERATOR, Book
from recsys.blurbs.entry import State
from recsys.blurbs.judging import from_json
from recsys.blurbs.row import BlurbSlot, Source
from recsys.blurbs.verdict import PASS


@dataclass(frozen=True)
class Judged:
    """What the gate said of one finished text."""

    slot: BlurbSlot
    source: Source
    passed: bool
    codes: frozenset[str]
    """Reasons against it."""


@dataclass(frozen=True)
class PassRate:
    """Of finished texts, the better of the attempts at each."""

    num_judged: int
    passed: float
    """Share, in [0, 1]; 0 without any."""
    reasons: dict[str, float]
    """Share of the texts that each reason speaks against, most frequent first; one text may have several."""


@dataclass(frozen=True)
class Cost:
    """Of all runs together."""

    num_runs: int
    num_approved: int
    seconds_per_approved: float | None
    """``None`` where nothing was approved."""
    tokens_per_approved: float | None


def judged_texts(book: Book) -> list[Judged]:
    """All finished texts that were ever judged."""
    query = (
        "SELECT slot, detail FROM audit WHERE action IN ('approved', 'review', 'rejected') AND actor = ? "
        "AND slot IS NOT NULL ORDER BY sequence"
    )
    found = []
    for row in book.file.rows(query, (GENERATOR,)):
        detail = json.loads(row["detail"])
        if detail["verdict"]:
            verdict = from_json(detail["verdict"])
            codes = frozenset(reason.code for reason in verdict.reasons)
            slot, source = BlurbSlot(*json.loads(row["slot"])), Source(detail["source"])
            found.append(Judged(slot, source, verdict.outcome == PASS, codes))
    return found


def pass_rate(texts: Iterable[Judged]) -> PassRate:
    """Count them."""
    found = list(texts)
    counts = Counter(code for text in found for code in text.codes)
    reasons = {code: number / len(found) for code, number in counts.most_common()}
    passed = sum(text.passed for text in found) / len(found) if found else 0.0
    return PassRate(len(found), passed, reasons)


def cost(book: Book) -> Cost:
    """Add up the runs."""
    runs = [json.loads(row[0]) for row in book.file.rows("SELECT detail FROM audit WHERE action = 'run'")]
    sums: dict[str, float] = defaultdict(float)
    for run in runs:
        sums["seconds"] += run["seconds"]
        sums["tokens"] += run["tokens_per_second"] * run["seconds"]
        sums["approved"] += run["states"].get(State.APPROVED, 0)
    num_approved = int(sums["approved"])
    if not num_approved:
        return Cost(len(runs), 0, None, None)
    return Cost(len(runs), num_approved, sums["seconds"] / num_approved, sums["tokens"] / num_approved)
