"""The verb group ``features``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, time_ms
from recsys.workspace import Workspace

features = typer.Typer(no_args_is_help=True, help="The ranker's features.")


@features.callback()
def _group() -> None:
    """The ranker's features."""


@features.command()
def export(
    start: Annotated[
        str, typer.Option("--from", help="Start of the label window, ISO 8601; features stand there.")
    ],
    end: Annotated[str, typer.Option("--to", help="End of the label window, exclusive.")],
    output: Annotated[Path, typer.Option(help="Parquet file; FILE.features.json goes beside it.")],
    placement: Annotated[str, typer.Option(help="Whose candidates.")] = "home",
    orders: Annotated[
        Literal["all", "new"], typer.Option(help="Every candidate, or those new to the user.")
    ] = "all",
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Write the ranker's training table, for notebooks: a row per decision, a column per feature."""
    from training.feature_table import export_features

    made = export_features(
        Workspace(workspace),
        time_ms(start, "--from"),
        time_ms(end, "--to"),
        output,
        placement=placement,
        orders=orders,
    )
    if json_output:
        typer.echo(json.dumps(asdict(made), default=str))
        return
    typer.echo(
        f"{made.rows:,} rows of {made.queries:,} decisions, {made.positives:,} with a label "
        f"(and {made.lost:,} that no source offered): {made.output}"
    )
    typer.echo(f"next: recsys models import --ranker MODEL.txt --features {made.description}")
