"""Verbs of the command line that train and evaluate."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from recsys.config import load_config
from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, EngineOption, JsonOption, WorkspaceOption, time_ms
from recsys.timestamps import iso
from recsys.workspace import Workspace


def train(
    until: Annotated[
        str | None, typer.Option(help="End of the data, ISO 8601, exclusive; the whole log when absent.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Run configuration; the workspace's recsys.toml when absent.")
    ] = None,
    only: Annotated[
        Literal["encoder", "ranker"] | None,
        typer.Option(
            help="Train this alone: ranker keeps the stable bundle's encoder, encoder fits the rankers "
            "behind it with as many trees as they had."
        ),
    ] = None,
    *,
    engine: EngineOption = "local",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Fine-tune the encoder, train the ranker, and put the bundle in the registry as stable."""
    from recsys.runner import runner
    from training.recipe import train as run

    place = Workspace(workspace)
    summary = run(
        place,
        until_ms=time_ms(until, "--until") if until is not None else None,
        config=load_config(config if config is not None else place.config, required=config is not None),
        only=only,
        runner=None if engine == "local" else runner(engine),
    )
    if json_output:
        typer.echo(json.dumps(asdict(summary), indent=1))
        return
    table = Table("stage", "seconds")
    for stage, seconds in summary.seconds.items():
        table.add_row(stage, f"{seconds:.1f}")
    console = Console()
    console.print(table)
    for note in summary.details["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"bundle {summary.version}, fitted until {iso(summary.fitted_until_ms)}, is now stable")


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
    ablations: Annotated[
        bool,
        typer.Option(
            "--ablations",
            help="Also train the model again without text, with frozen text and without behaviour, and "
            "compare; each takes about as long as training did.",
        ),
    ] = False,
    strategies: Annotated[
        bool,
        typer.Option(
            "--strategies",
            help="Also train the encoder by every strategy, and compare what text alone finds on cold and "
            "on warm items; tuning every layer takes long.",
        ),
    ] = False,
    hold_out: Annotated[
        float | None,
        typer.Option(
            help="Share of the catalogue, newest items first, whose past a model that is trained for this "
            "report alone does not see: what it makes of new items."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Measure the bundle on what happened after its data ended, against baselines."""
    from training.baselines import parse_names
    from training.evaluation import evaluate as run
    from training.report_page import summary_table

    result = run(
        Workspace(workspace),
        version=version,
        test_from_ms=time_ms(test_from, "--from") if test_from is not None else None,
        test_to_ms=time_ms(test_to, "--to") if test_to is not None else None,
        json_path=output,
        html_path=output.with_suffix(".html") if output is not None else None,
        baseline_names=parse_names(baselines),
        ablations=ablations,
        strategies=strategies,
        hold_out_share=hold_out,
    )
    if json_output:
        typer.echo(json.dumps(result.report, indent=1))
        return
    Console().print(summary_table(result.report))
    typer.echo(f"report: {result.html_path}")


def tune(
    *,
    trials: Annotated[
        int, typer.Option(help="Settings to try in each search, those of earlier calls included.")
    ] = 20,
    until: Annotated[
        str | None,
        typer.Option(
            help="End of the data, ISO 8601, exclusive; the whole log when absent. Give the start of a test "
            "window to leave it unread."
        ),
    ] = None,
    only: Annotated[
        Literal["encoder", "ranker"] | None,
        typer.Option(help="Search these settings alone; ranker alone trains no encoder where one fits."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Run configuration; the workspace's recsys.toml when absent.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the best settings go, as TOML; nothing is overwritten.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Search for better encoder and ranker settings on the last label window."""
    try:
        from training import tune as tuning
    except ModuleNotFoundError as error:
        raise ConfigError(f"recsys tune needs: pip install '.[tune]' ({error})") from error

    if output is not None:
        tuning.require_new(output)
    place = Workspace(workspace)
    settings = load_config(config if config is not None else place.config, required=config is not None)
    until_ms = time_ms(until, "--until") if until is not None else None
    found = tuning.tune(place, trials=trials, until_ms=until_ms, config=settings, only=only)
    text = tuning.fragment(found, settings)
    if output is not None:
        tuning.write_fragment(text, output)
    if json_output:
        typer.echo(json.dumps([asdict(one) | {"better": one.better(settings)} for one in found], indent=1))
        return
    for one in found:
        Console().print(tuning.summary_table(one))
    typer.echo(text if output is None else f"the best settings that differ are in {output}")
