"""``recsys blurbs check``: says whether a text about an item may be published, and why not.

Exit codes: 0 it passes, 1 it is rejected or cannot be checked, 2 wrong usage, 3 a person has to decide.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.blurbs.verdict import Verdict
from recsys.errors import DataError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

_EXIT_CODES: Final = {"pass": 0, "reject": 1, "review": 3}
_STYLES: Final = {"pass": "green", "reject": "red", "review": "yellow"}


def check(
    item: Annotated[Path, typer.Option("--item", help="The item, a JSON file as in the data contract.")],
    text: Annotated[str, typer.Option("--text", help="The text as it would be shown.")],
    language: Annotated[str, typer.Option("--language", help="BCP 47, what was asked for.")] = "en",
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Check a text about an item: exit code 0 if it may be published, 3 if a person has to decide, else 1."""
    from recsys.blurbs.facts import Facts
    from recsys.blurbs.shop_gate import shop_gate
    from recsys.config import load_config

    facts = Facts.of(read_item(item))
    place = Workspace(workspace)
    gate = shop_gate(place, nli=load_config(place.config).blurbs.nli)
    verdict = gate.check(facts, text, language)
    if json_output:
        typer.echo(json.dumps(as_document(verdict, gate.version), ensure_ascii=False))
    else:
        _show(verdict, text)
    raise typer.Exit(_EXIT_CODES[verdict.outcome])


def read_item(path: Path) -> Mapping[str, Any]:
    """Read one item.

    Raises:
        DataError: The file cannot be read, is not JSON, or is not one item.
    """
    try:
        item = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(item, dict):
        raise DataError(f"{path} holds {type(item).__name__}, expected one item as an object")
    if not isinstance(item.get("attributes"), dict | list | None):
        raise DataError(
            f"{path}: attributes is {item['attributes']!r}, expected an object of names and values"
        )
    return item


def as_document(verdict: Verdict, version: str) -> dict[str, Any]:
    """A verdict for a JSON document."""
    reasons = [
        {
            "code": reason.code,
            "evidence": reason.evidence,
            "severity": reason.severity,
            "start": reason.start,
            "end": reason.end,
        }
        for reason in verdict.reasons
    ]
    return {
        "verdict": verdict.outcome,
        "reasons": reasons,
        "score": round(verdict.score, 4),
        "gate_version": version,
    }


def _show(verdict: Verdict, text: str) -> None:
    marked = Text(text)
    for reason in verdict.reasons:
        marked.stylize(_STYLES[reason.severity], reason.start, reason.end)
    console = Console()
    console.print(Text(verdict.outcome, style=_STYLES[verdict.outcome]), marked)
    if verdict.reasons:
        table = Table("reason", "evidence", "severity")
        for reason in verdict.reasons:
            table.add_row(reason.code, Text(reason.evidence), reason.severity)
        console.print(table)
