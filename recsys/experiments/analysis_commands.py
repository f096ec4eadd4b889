"""The verbs of ``recsys experiment`` that read results: each parses, makes one call and prints."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, time_ms
from recsys.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from recsys.experiments.comparison import Comparison, Interval
    from recsys.experiments.definition import Experiment
    from recsys.experiments.result import Result

_DefinitionOption = Annotated[Path, typer.Option("--definition", help="The definition, a TOML file.")]
_HistoryOption = Annotated[
    Path | None,
    typer.Option("--data", help="Historical units, Parquet; absent for the log of the workspace."),
]
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
    *,
    json_output: JsonOption = False,
) -> None:
    """Compare the arms on data of one's own, and say what follows."""
    from recsys.experiments.analysis import analyze as run
    from recsys.experiments.definition import load_experiment
    from recsys.experiments.unit_table import read_units

    experiment, segments = load_experiment(definition), segment or []
    _show(run(experiment, read_units(data, experiment, segments), segments), html, json_output=json_output)


def report(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The experiment's key.")],
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="What happened before; absent for all.")
    ] = None,
    html: _HtmlOption = None,
    *,
    auto_stop: Annotated[
        bool,
        typer.Option("--auto-stop", help="End it on a breached guardrail or a sample ratio mismatch."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Report on an experiment that servers ran, from the log of lists and events."""
    from recsys.experiments.report import report as run

    moment = None if until is None else datetime.fromtimestamp(time_ms(until, "--until") / 1000, UTC)
    result = run(Workspace(workspace), key, moment)
    if auto_stop:
        from recsys.experiments.auto_stop import stop_if_harmful
        from recsys.experiments.registry import ExperimentRegistry

        if reason := stop_if_harmful(ExperimentRegistry(Workspace(workspace)), result):
            typer.echo(f"stopped {key}: {reason}", err=True)
    _show(result, html, json_output=json_output)


def power(
    definition: _DefinitionOption,
    data: _HistoryOption = None,
    effect: Annotated[
        float | None, typer.Option("--effect", min=0.0, help="Relative difference to find: 0.02 for 2 %.")
    ] = None,
    mean: Annotated[
        float | None, typer.Option("--mean", help="Of the primary metric, instead of historical data.")
    ] = None,
    deviation: Annotated[
        float | None, typer.Option("--std", min=0.0, help="Standard deviation of one unit, with --mean.")
    ] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Say how many units an experiment needs, from the log's history, a file's, or a mean by hand."""
    from recsys.experiments.definition import load_experiment
    from recsys.experiments.power import Baseline, baselines_of, plan

    experiment = load_experiment(definition)
    if mean is None:
        baselines = baselines_of(experiment, _history(experiment, data, workspace))
    else:
        baselines = [Baseline.by_hand(experiment.primary, mean, deviation)]
    planned = plan(experiment, baselines, effect)
    if json_output:
        typer.echo(json.dumps(asdict(planned), allow_nan=False))
        return
    inflation = f"{planned.method} takes {planned.inflation:.2f} times the units of a fixed horizon"
    caption = f"power {planned.power:g}, alpha {planned.alpha:.3g} for each comparison; {inflation}"
    table = Table("metric", "baseline", "effect", "units", "by arm", "planned size finds", caption=caption)
    for each in planned.requirements:
        by_arm = ", ".join(f"{arm} {count:,}" for arm, count in each.units_by_arm.items())
        finds = "-" if each.detectable is None else f"{each.detectable:.2%}"
        name, baseline = Text(each.baseline.metric), f"{each.baseline.mean:.4g}"
        table.add_row(name, baseline, f"{each.effect:.2%}", f"{each.units:,}", Text(by_arm), finds)
    Console().print(table)


def simulate(
    definition: _DefinitionOption,
    data: _HistoryOption = None,
    *,
    runs: Annotated[int, typer.Option("--runs", min=100, help="Experiments to simulate.")] = 2000,
    looks: Annotated[int, typer.Option("--looks", min=1, max=1000, help="Looks at each of them.")] = 20,
    units: Annotated[
        int | None,
        typer.Option("--units", min=2, help="Units of each; absent: as planned, up to 20,000."),
    ] = None,
    effect: Annotated[
        float, typer.Option("--effect", min=-0.99, help="Relative difference to plant; 0 is A/A.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal results.")] = 0,
    shop: Annotated[
        str | None,
        typer.Option("--shop", metavar="HOST:PORT", help="Let the log's users shop at this server instead."),
    ] = None,
    visits: Annotated[int, typer.Option("--visits", min=1, help="Of each user, with --shop.")] = 5,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds for the log to take all in, with --shop.")
    ] = 120.0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Rehearse the primary metric on history: how often every method finds what is, or is not, there.

    With --shop, the whole loop: --units users of the log visit a running server, where the experiment of the
    definition runs, and the report is shown beside the effect that was planted.
    """
    import numpy as np

    from recsys.experiments.definition import load_experiment
    from recsys.experiments.rehearsal import Rehearsal, rehearse
    from recsys.experiments.simulation import simulate as run

    experiment = load_experiment(definition)
    if shop is not None:
        rehearsal = Rehearsal(shop, experiment.key, effect, units, visits, runs, seed, wait)
        rehearse(Workspace(workspace), rehearsal, json_output=json_output)
        return
    history = _history(experiment, data, workspace)
    rng = np.random.default_rng(seed)
    done = run(experiment, history, rng, runs=runs, looks=looks, units=units, effect=effect)
    if json_output:
        typer.echo(json.dumps(asdict(done), allow_nan=False))
        return
    kind = "A/A" if not effect else f"{effect:+.2%} planted"
    title = f"{done.metric}, {kind}: {done.runs:,} runs of {done.units:,} units, {done.looks} looks"
    caption = f"p-values at the end are uniform: p = {done.uniformity:.3g}" if not effect else None
    table = Table("method", "finds a difference in", "95 % interval", title=title, caption=caption)
    for name, rate in done.rates.items():
        table.add_row(name, f"{rate.rate:.2%}", f"{rate.low:.2%} to {rate.high:.2%}")
    Console().print(table)


def add_to(experiment: typer.Typer) -> None:
    """Add the verbs to the group."""
    for verb in (analyze, report, power, simulate):
        experiment.command(verb.__name__)(verb)


def _history(experiment: "Experiment", data: Path | None, workspace: Path) -> "pl.DataFrame":
    from recsys.experiments.past_units import history_from_file, history_from_log

    if data is not None:
        return history_from_file(data, experiment).frame
    return history_from_log(Workspace(workspace), experiment).frame


def _show(result: "Result", html: Path | None, *, json_output: bool) -> None:
    from recsys.experiments.result_json import as_json

    if html is not None:
        try:
            from recsys.experiments.page import write_page
        except ImportError as error:
            raise ConfigError(f"--html needs: pip install '.[experiments]' ({error})") from error
        write_page(result, html)
    if json_output:
        typer.echo(json.dumps(as_json(result), allow_nan=False))
        return
    Console().print(_result_table(result))
    for problem in result.problems:
        about = f"{problem.metric}: " if problem.metric else ""
        typer.echo(f"{problem.severity}: {about}{problem.message}")
    typer.echo(f"verdict: {result.judgement.verdict}")
    for reason in result.judgement.reasons:
        typer.echo(f"- {reason}")


def _result_table(result: "Result") -> Table:
    analysis, units = result.experiment.analysis, result.units
    counts = ", ".join(f"{arm} {count:,}" for arm, count in units.items())
    ratio = f"sample ratio p = {result.srm.p_value:.3g}"
    caption = f"{1 - analysis.alpha:.0%} intervals, {analysis.method}; {ratio}"
    table = Table(title=f"{result.experiment.key}: {counts}", caption=caption, show_lines=True)
    for heading in ("metric", "arm"):
        table.add_column(heading)
    for heading in ("control", "difference", "relative", "adjusted p"):
        table.add_column(heading, justify="right")
    for metric in result.metrics:
        for each in metric.comparisons:
            control = f"{metric.arms[each.control].mean:.4g}"
            name = Text(f"{metric.metric.name}\n{_role(metric.metric.role, each)}")
            shown = (_interval(each.absolute, "+.3g"), _interval(each.relative, "+.2%"))
            table.add_row(name, Text(each.arm), control, *shown, _p(each.adjusted_p_value))
    return table


def _role(role: str, comparison: "Comparison") -> str:
    return role if comparison.guardrail is None else f"{role}: {comparison.guardrail.status}"


def _interval(interval: "Interval", form: str) -> str:
    if interval.estimate is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:{form}}"
    return f"{interval.estimate:{form}}\n[dim]{interval.low:{form}} to {interval.high:{form}}[/dim]"


def _p(p_value: float | None) -> str:
    return "-" if p_value is None else f"{p_value:.3g}"
