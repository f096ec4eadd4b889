"""The quality report as lines of a name and a figure, for a terminal and for the page."""

from rich.table import Table
from rich.text import Text

from recsys.blurbs.quality.report import Group, QualityReport


def rows(report: QualityReport) -> list[tuple[str, str]]:
    """All single figures, in words."""
    cost, review = report.cost, report.review
    return [
        ("texts by state", _counts(report.states)),
        ("approved texts by source", _counts(report.sources)),
        ("slots with the shop's own words", _percent(report.fallback)),
        ("models' texts that pass", _rate(report.models.passed, report.models.num_judged)),
        ("own words that pass", _rate(report.own_words.passed, report.own_words.num_judged)),
        ("seconds per approved blurb", _number(cost.seconds_per_approved, cost.num_runs)),
        ("tokens per approved blurb", _number(cost.tokens_per_approved, cost.num_runs)),
        ("decisions of people", _counts(review.decisions)),
        ("waiting for a person", f"{review.num_waiting:,}"),
        ("sample of what the gate let through", review.sample.words),
        ("reviewers' agreement", _agreement(report)),
        ("overlap with descriptions (alarm only)", _overlap(report)),
    ]


def summary_table(report: QualityReport) -> Table:
    """The single figures."""
    table = Table("quality of blurbs", "")
    for name, figure in rows(report):
        table.add_row(name, Text(figure))
    return table


def reasons_table(report: QualityReport) -> Table:
    """Why models' texts do not pass."""
    table = Table("speaks against", "share of the models' texts")
    for code, share in report.models.reasons.items():
        table.add_row(code, f"{share:.1%}")
    return table


def detection_table(report: QualityReport) -> Table:
    """The gate on false texts."""
    table = Table("false texts", "number", "stopped", "95 %", "AUROC", "95 %")
    for one in report.detection:
        table.add_row(
            one.kind,
            f"{one.num_texts:,}",
            f"{one.stopped:.1%}",
            f"{one.stopped_low:.1%} to {one.stopped_high:.1%}",
            f"{one.auroc:.3f}",
            f"{one.auroc_low:.3f} to {one.auroc_high:.3f}",
        )
    return table


def groups_table(title: str, groups: list[Group]) -> Table:
    """Languages or segments side by side."""
    headings = ("texts", "failed", "chars", "LIX", "facts", "distinct", "self-BLEU", "bits")
    table = Table(title, *headings, caption="key facts told; distinct-1 and -2; entropy of openings")
    for group in groups:
        variety = group.diversity
        table.add_row(
            Text(group.name),
            f"{group.num_texts:,}",
            _percent(group.rejected),
            f"{group.mean_chars:.0f}",
            f"{group.lix:.0f}",
            _percent(group.told),
            f"{variety.distinct_1:.2f} {variety.distinct_2:.2f}",
            "" if variety.self_bleu is None else f"{variety.self_bleu:.2f}",
            f"{variety.opening_entropy:.1f}",
        )
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "none"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _rate(share: float, number: int) -> str:
    return f"{share:.1%} of {number:,}" if number else "none was judged"


def _number(value: float | None, num_runs: int) -> str:
    return "unknown: no run on record" if value is None else f"{value:.2f} over {num_runs} runs"


def _agreement(report: QualityReport) -> str:
    found = report.review.agreement
    if not found.num_pairs:
        return "no text was judged by two people apart"
    kappa = "not defined" if found.kappa is None else f"{found.kappa:.2f}"
    return f"{found.share:.0%} of {found.num_pairs} pairs, kappa {kappa}"


def _overlap(report: QualityReport) -> str:
    found = report.overlap
    if found is None:
        return "unknown: pip install '.[quality]', or no model's text has a description beside it"
    return (
        f"BLEU {found.bleu:.1f} ({found.signature}), ROUGE-L {found.rouge_l:.2f}, {found.num_texts:,} texts"
    )
