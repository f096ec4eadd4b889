"""``recsys blurbs generate``: writes what is missing, and says what it cost."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.blurbs.configuration import BackendName
from recsys.errors import BlurbError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.blurbs.run_report import RunReport


def generate(
    *,
    items: Annotated[
        Path | None,
        typer.Option(help="Only these items: Parquet, CSV or JSON Lines. Else the most shown ones."),
    ] = None,
    backend: Annotated[
        BackendName | None, typer.Option(help="What writes; else `blurbs.backend` of recsys.toml.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most blurbs that are written.")] = 1000,
    language: Annotated[
        str | None, typer.Option(help="BCP 47; else `blurbs.languages` of recsys.toml.")
    ] = None,
    segment: Annotated[str, typer.Option(help="For whom; else for everybody.")] = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Write blurbs for the items that are shown most and have none; what was begun is gone on with."""
    from recsys.blurbs.run import generate_blurbs
    from recsys.config import load_config

    place = Workspace(workspace)
    given: dict[str, object] = {"backend": backend, "languages": None if language is None else (language,)}
    config = load_config(place.config).blurbs
    config = config.model_copy(update={name: value for name, value in given.items() if value is not None})
    report = generate_blurbs(place, config, items_file=items, limit=limit, segment=segment)
    if json_output:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False))
    else:
        _show(report)
    if report.stopped:
        raise BlurbError(f"{report.stopped}; what is missing waits in the queue, run the command again")


def _show(report: "RunReport") -> None:
    console = Console()
    table = Table("blurbs", "number")
    for name, number in (("checked again", report.num_checked_again), *report.states.items()):
        table.add_row(name, f"{number:,}")
    console.print(table)
    if report.reasons:
        refused = Table("refused for", "drafts")
        for code, number in report.reasons.items():
            refused.add_row(code, f"{number:,}")
        console.print(refused)
    console.print(
        f"{report.model}: {report.pass_rate:.1%} of the drafts passed; {report.seconds:.1f} s, "
        f"{report.seconds_per_approved:.2f} s per approved blurb, {report.tokens_per_second:.1f} tokens/s, "
        f"{report.peak_memory_mb:,.0f} MB at most",
        highlight=False,
        soft_wrap=True,
    )
