"""The verbs of ``recsys experiment`` that read results: each parses, makes one call and prints."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, time_ms
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.experiments.history import Running
    from recsys.experiments.result import Result

_DefinitionOption = Annotated[Path, typer.Option("--definition", help="The definition, a TOML file.")]
_HtmlOption = Annotated[Path | None, typer.Option("--html", help="Also write a page with plots here.")]


def analyze(
    definition: _DefinitionOption,
    data: Annotated[
        Path, typer.Option("--data", help="Parquet, one row per unit: unit_id, arm, metric columns.")
    ],
    segment: Annotated[
        list[str] | None,
        typer.Option("--segment", help="Column whose values are looked at apart; repeatable."),
    ] = None,
    html: _HtmlOption = None,
    looks: Annotated[
        Path | None, typer.Option("--looks", help="Book of the looks at this experiment; it is added to.")
    ] = None,
    *,
    json_output: JsonOption = False,
) -> None:
    """Compare the arms on data of one's own, and say what follows."""
    from recsys.experiments.analysis import analyze as run
    from recsys.experiments.definition import load_experiment
    from recsys.experiments.sitting import sit
    from recsys.experiments.unit_table import read_units

    experiment, segments = load_experiment(definition), segment or []
    table = read_units(data, experiment, segments)
    book = looks if experiment.analysis.keeps_looks else None
    result = sit(lambda past: run(experiment, table, segments, past=past), book)
    _show(result, html, json_output=json_output)


def report(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The experiment's key.")],
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="What happened before; absent for all.")
    ] = None,
    html: _HtmlOption = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of the definition; absent for the latest.")
    ] = None,
    *,
    auto_stop: Annotated[
        bool,
        typer.Option("--auto-stop", help="End it on harm, bad service or a sample ratio mismatch."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Report on an experiment that servers ran, from the log of lists and events.

    Of one that interleaves its arms it says which model is preferred.
    """
    from recsys.experiments.registry import ExperimentRegistry
    from recsys.experiments.report import report as run

    moment = None if until is None else datetime.fromtimestamp(time_ms(until, "--until") / 1000, UTC)
    running = ExperimentRegistry(Workspace(workspace)).find(key, version)
    if running.experiment.interleave:
        if auto_stop:
            raise ConfigError(
                f"--auto-stop: {key} interleaves its arms: every list is of both, so none does harm alone "
                "and there are no units by arm to compare; leave it out, or stop it by hand: recsys "
                f"experiment stop {key} --reason ..."
            )
        _show_interleaved(Workspace(workspace), running, moment, html, json_output=json_output)
        return
    result = run(Workspace(workspace), key, moment, version)
    if running.stopped is not None:
        typer.echo(f"{key} was stopped at {running.stopped:%F %H:%M} UTC: nobody joins any more", err=True)
    registry = ExperimentRegistry(Workspace(workspace))
    latest = registry.find(key).version
    if auto_stop and result.version != latest:
        typer.echo(f"{key} goes on: --auto-stop acts on version {latest} alone, the latest one", err=True)
    elif auto_stop:
        from recsys.experiments.auto_stop import stop_if_harmful

        if reason := stop_if_harmful(registry, result):
            typer.echo(f"stopped {key}: {reason}", err=True)
    _show(result, html, json_output=json_output)


def add_to(experiment: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (analyze, report):
        experiment.command(verb.__name__)(verb)


def _show_interleaved(
    workspace: Workspace, running: "Running", until: datetime | None, html: Path | None, *, json_output: bool
) -> None:
    from recsys.experiments.log_metrics import COUNTED
    from recsys.experiments.preference_table import show_preference
    from recsys.experiments.served_preference import served_preference

    defined = running.experiment
    if html is not None:
        raise ConfigError(
            f"--html: {defined.key} interleaves its arms, and only arms that are apart have a page"
        )
    credited = COUNTED.get(defined.primary.columns[0], "click")
    found = served_preference(
        workspace,
        defined.key,
        event_type=credited,
        version=running.version,
        until=until,
    )
    show_preference(found, json_output=json_output)


def _show(result: "Result", html: Path | None, *, json_output: bool) -> None:
    from recsys.experiments.result_json import as_json
    from recsys.experiments.result_table import result_table
    from recsys.experiments.segment_table import segment_table

    if html is not None:
        try:
            from recsys.experiments.page import write_page
        except ImportError as error:
            raise ConfigError(f"--html needs: pip install '.[experiments]' ({error})") from error
        write_page(result, html)
    if json_output:
        typer.echo(json.dumps(as_json(result), allow_nan=False))
        return
    Console().print(result_table(result))
    if result.segments:
        Console().print(segment_table(result.experiment.primary.name, result.segments))
    if result.reach is not None:
        typer.echo(str(result.reach))
    for problem in result.problems:
        about = f"{problem.metric}: " if problem.metric else ""
        typer.echo(f"{problem.severity}: {about}{problem.message}")
    typer.echo(f"verdict: {result.judgement.verdict}")
    for reason in result.judgement.reasons:
        typer.echo(f"- {reason}")
