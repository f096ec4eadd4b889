"""One case as a person sees it in a terminal."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from recsys.blurbs.facts import Facts
from recsys.blurbs.lexicon import Lexicons
from recsys.blurbs.review.case import Case
from recsys.blurbs.review.judgement import Occasion
from recsys.blurbs.review.spans import supported_spans
from recsys.blurbs.verdict import Verdict

_STYLES = {"pass": "green", "reject": "bold red underline", "review": "bold yellow underline"}
_ABOUT = {
    Occasion.WAITING: "waits for a person",
    Occasion.SAMPLE: "the gate let it through; a sample",
    Occasion.DOUBLE: "somebody else has decided; your own opinion, please",
}


def card(case: Case, lexicons: Lexicons, place: str = "") -> Panel:
    """Draw a case.

    Args:
        case: What to draw.
        lexicons: The shop's, by which supported words are found.
        place: Such as ``2 of 7``.
    """
    slot = case.entry.request.slot
    parts: list[RenderableType] = [
        facts_table(case.facts, case.entry.fact_ids),
        Text(),
        marked(
            case.entry.text,
            case.verdict,
            supported_spans(case.facts, case.entry.text, slot.language, lexicons),
        ),
    ]
    if case.previous:
        parts.append(Text.assemble(("before: ", "dim"), (case.previous, "dim")))
    if case.verdict.reasons:
        parts += [Text(), reasons_table(case.verdict)]
    if case.complaints:
        parts.append(Text(f"shoppers reported it: {', '.join(case.complaints)}", style="red"))
    parts.append(Text(_footer(case), style="dim"))
    title = Text(" · ".join(part for part in (place, slot.item_id, slot.language, slot.segment) if part))
    return Panel(Group(*parts), title=title, title_align="left", subtitle=Text(_ABOUT[case.occasion]))


def marked(text: str, verdict: Verdict, supported: list[tuple[int, int]]) -> Text:
    """A text: green what the facts support, red what the gate rejects, yellow what it doubts."""
    shown = Text(text)
    for start, end in supported:
        shown.stylize("green", start, end)
    for reason in sorted(verdict.reasons, key=lambda reason: reason.severity, reverse=True):
        shown.stylize(_STYLES[reason.severity], reason.start, reason.end)
    return shown


def facts_table(facts: Facts, used: tuple[str, ...] = ()) -> Table:
    """What is known of an item; a star before what the text uses."""
    table = Table(box=None, show_header=False, pad_edge=False)
    own = [("title", facts.title), ("brand", facts.brand), ("category", facts.category)]
    attributes = [(fact.attribute, fact.value) for fact in facts.attributes]
    rows = [*own, *attributes, ("description", facts.description)]
    number = 0
    for name, value in rows:
        if value:
            number += 1
            star = "*" if str(number) in used else ""
            table.add_row(star, Text(name, style="dim"), Text(value))
    return table


def reasons_table(verdict: Verdict) -> Table:
    """Why the gate does not let a text through."""
    table = Table("reason", "evidence", "severity")
    for reason in verdict.reasons:
        table.add_row(
            reason.code, Text(reason.evidence), Text(reason.severity, style=_STYLES[reason.severity])
        )
    return table


def _footer(case: Case) -> str:
    request = case.entry.request
    known = [
        f"{request.model} {request.prompt_version}".strip(),
        f"risk {case.risk:.1f}",
        f"shown {request.priority:,.0f} times",
        "high-risk category" if case.is_high_risk else "",
        f"approved by {', '.join(case.approvals)}" if case.approvals else "",
    ]
    return " · ".join(part for part in known if part)
