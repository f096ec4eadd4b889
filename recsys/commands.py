"""The verbs of the engine itself; each parses, makes one call and prints the result."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

# ---- recsys datasets ------------------------------------------------------------

datasets = typer.Typer(
    help="Public data sets, written as files that `recsys ingest` takes.", no_args_is_help=True
)


@datasets.command("list")
def list_datasets(*, json_output: JsonOption = False) -> None:
    """Show the data sets by name."""
    from recsys.datasets import DATASETS

    if json_output:
        typer.echo(json.dumps({name: dataset.description for name, dataset in DATASETS.items()}))
        return
    table = Table("name", "description")
    for name, dataset in DATASETS.items():
        table.add_row(name, dataset.description)
    Console().print(table)


@datasets.command("prepare")
def prepare_dataset(
    name: Annotated[str, typer.Argument(help="A name that `recsys datasets list` shows.")],
    output: Annotated[Path, typer.Option("--output", help="Directory to write to.", file_okay=False)],
    source: Annotated[
        Path | None, typer.Option("--source", help="Where the data set's files lie, if not in a package.")
    ] = None,
    *,
    json_output: JsonOption = False,
) -> None:
    """Write a data set as items.parquet, events.parquet and, where users are known, users.parquet."""
    from recsys.datasets import prepare
    from recsys.progress import progress

    with progress(f"preparing {name}"):
        prepared = prepare(name, source, output)
    if json_output:
        typer.echo(json.dumps(asdict(prepared), default=str))
        return
    users = f" --users {prepared.users}" if prepared.users else ""
    typer.echo(
        f"{prepared.num_items} items, {prepared.num_events} events, {prepared.num_users} users in {output}"
    )
    typer.echo(f"next: recsys ingest --items {prepared.items} --events {prepared.events}{users}")


# ---- recsys ingest ------------------------------------------------------------


def ingest(
    items: Annotated[
        Path, typer.Option("--items", help="Items: Parquet, CSV or JSON Lines, or .gz, or a directory.")
    ],
    events: Annotated[Path, typer.Option("--events", help="Events, in any of the same forms.")],
    users: Annotated[Path | None, typer.Option("--users", help="Users, in any of the same forms.")] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    format: Annotated[str, typer.Option("--format", help="What the columns are called: recsys.")] = "recsys",  # noqa: A002 (the flag's name)
    max_reject_share: Annotated[
        float, typer.Option("--max-reject-share", help="Share of bad rows above which nothing is published.")
    ] = 0.05,
    json_output: JsonOption = False,
) -> None:
    """Check items, events and users, and take them into the workspace."""
    from recsys.ingest import ingest as run

    summary = run(
        Workspace(workspace), items, events, users, format=format, max_reject_share=max_reject_share
    )
    if json_output:
        typer.echo(summary.to_json())
        return
    console = Console()
    table = Table("table", "read", "accepted", "rejected", "duplicates")
    tables = {"items": summary.items, "events": summary.events, "users": summary.users}
    for name, rows in tables.items():
        if rows is not None:
            table.add_row(
                name, *(f"{n:,}" for n in (rows.read, rows.accepted, rows.rejected, rows.duplicates))
            )
    console.print(table)
    for name, rows in tables.items():
        if rows is not None and rows.rejects is not None:
            reasons = ", ".join(f"{reason} ({count:,})" for reason, count in rows.reasons.items())
            typer.echo(f"{name} rejected: {reasons}; see {rows.rejects}")
    typer.echo(f"{summary.seconds:.1f} s")


# ---- recsys models ------------------------------------------------------------
