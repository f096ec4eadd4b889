"""The verbs of ``recsys experiment`` that need no running experiment: evaluation from a log, interleaving."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.experiments.interleaving import Draft
    from recsys.experiments.resampling import Interval


def evaluate_from_log(
    log: Annotated[
        Path,
        typer.Option("--log", help="Parquet: reward, logging_propensity, target_propensity, one row each."),
    ],
    *,
    clip: Annotated[float, typer.Option("--clip", help="Largest weight of clipped_ips.")] = 10.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")] = 0,
    json_output: JsonOption = False,
) -> None:
    """Estimate what a policy would have earned from a log of another one, or say why the log cannot tell."""
    from recsys.experiments.offline_report import evaluate_offline

    report = evaluate_offline(log, clip=clip, seed=seed)
    if json_output:
        typer.echo(report.to_json())
        return
    table = Table("estimator", "estimate", "95 % interval", title=str(log))
    table.add_row("as logged", *_cells(report.logged))
    for name, found in {**report.estimates, **report.slate}.items():
        table.add_row(name, *_cells(found))
    Console().print(table)
    said = report.diagnosis
    typer.echo(
        f"{report.num_rows:,} rows of {report.num_users:,} users, effective sample size "
        f"{said.effective_sample_size:,.1f}, mean weight {said.mean_weight:.4f}, max {said.max_weight:,.2f}, "
        f"coverage {said.coverage:.3f}"
    )
    typer.echo(f"verdict: {report.verdict}")
    for reason in report.reasons:
        typer.echo(f"- {reason}")


def interleave_files(
    a: Annotated[Path, typer.Option("--a", help="One ranking: Parquet, CSV, JSON or lines of item ids.")],
    b: Annotated[Path, typer.Option("--b", help="The other.")],
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds draft equally.")],
    *,
    limit: Annotated[int | None, typer.Option("-k", min=1, help="Most items of a list.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Draft one list from two rankings (team draft), and say which ranking put each item there."""
    from recsys.experiments.rankings import interleave

    lists = interleave(a, b, seed, limit)
    if json_output:
        alone = lists.get("")
        drafted = (
            _document(alone) if alone else {"lists": {key: _document(one) for key, one in lists.items()}}
        )
        typer.echo(json.dumps({"method": "team_draft", "seed": seed, **drafted}))
        return
    table = Table("list", "position", "item", "team")
    for key, found in lists.items():
        for position, (item_id, team) in enumerate(zip(found.item_ids, found.teams, strict=True)):
            table.add_row("" if position else key, str(position), item_id, team)
    Console().print(table)


def compare_interleaved(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The experiment's key.")],
    *,
    event_type: Annotated[str, typer.Option("--event", help="What is credited, such as click.")] = "click",
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of the definition; absent for all, each apart.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Say which of two interleaved models users prefer, by what was clicked on the lists that were served."""
    from recsys.experiments.preference_table import show_preference
    from recsys.experiments.served_preference import served_preference

    found = served_preference(Workspace(workspace), key, event_type=event_type, version=version)
    show_preference(found, json_output=json_output)


def _document(drafted: "Draft") -> dict[str, Any]:
    return {"items": list(drafted.item_ids), "teams": list(drafted.teams)}


def _cells(found: "Interval | None") -> tuple[str, str]:
    if found is None:
        return "needs a reward model", ""
    return f"{found.estimate:.5f}", f"[{found.low:.5f}, {found.high:.5f}]"
