"""Verbs of the command line that train and evaluate."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.config import load_config
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, time_ms
from recsys.workspace import Workspace


def train(
    until: Annotated[
        str | None, typer.Option(help="End of the data, ISO 8601, exclusive; the whole log when absent.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Run configuration; the workspace's recsys.toml when absent.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Fine-tune the encoder, train the ranker, and put the bundle in the registry as stable."""
    from training.recipe import train as run

    place = Workspace(workspace)
    summary = run(
        place,
        until_ms=time_ms(until, "--until") if until is not None else None,
        config=load_config(config if config is not None else place.config, required=config is not None),
    )
    if json_output:
        typer.echo(json.dumps(asdict(summary), indent=1))
        return
    table = Table("stage", "seconds")
    for stage, seconds in summary.seconds.items():
        table.add_row(stage, f"{seconds:.1f}")
    console = Console()
    console.print(table)
    until_time = datetime.fromtimestamp(summary.fitted_until_ms / 1000, UTC)
    typer.echo(f"bundle {summary.version}, fitted until {until_time:%Y-%m-%dT%H:%M:%SZ}, is now stable")


def evaluate(
    *,
    version: Annotated[
        str | None, typer.Option(help="Bundle to evaluate; the stable one when absent.")
    ] = None,
    test_from: Annotated[
        str | None,
        typer.Option(
            "--from", help="Start of the test window, ISO 8601; the end of the bundle's data when absent."
        ),
    ] = None,
    test_to: Annotated[
        str | None,
        typer.Option("--to", help="End of the test window, exclusive; the end of the log when absent."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the JSON report goes; its HTML twin lies beside it.")
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(help="What to compare with: names with commas between, or all, which takes minutes."),
    ] = "popular,personal_frequency",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Measure the bundle on what happened after its data ended, against baselines."""
    from training.baselines import parse_names
    from training.evaluation import evaluate as run
    from training.report import summary_table

    result = run(
        Workspace(workspace),
        version=version,
        test_from_ms=time_ms(test_from, "--from") if test_from is not None else None,
        test_to_ms=time_ms(test_to, "--to") if test_to is not None else None,
        json_path=output,
        html_path=output.with_suffix(".html") if output is not None else None,
        baseline_names=parse_names(baselines),
    )
    if json_output:
        typer.echo(json.dumps(result.report, indent=1))
        return
    Console().print(summary_table(result.report))
    typer.echo(f"report: {result.html_path}")
