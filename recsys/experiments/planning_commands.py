"""The verbs of ``recsys experiment`` that look ahead: units it takes, and what each method would find."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from recsys.experiments.definition import Experiment

_DefinitionOption = Annotated[Path, typer.Option("--definition", help="The definition, a TOML file.")]
_HistoryOption = Annotated[
    Path | None,
    typer.Option("--data", help="Historical units, Parquet; absent for the log of the workspace."),
]


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
    from recsys.experiments.baseline import Baseline, baselines_of
    from recsys.experiments.definition import load_experiment
    from recsys.experiments.power import plan

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
    if mean is None and planned.left_out:
        typer.echo(f"left out, unknown or the same for every unit: {', '.join(planned.left_out)}")


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
        typer.Option("--shop", metavar="HOST:PORT", help="Let users of the log shop at this server instead."),
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
    definition runs. The report is shown beside the effect that was planted, and beside --runs A/A analyses
    of the same log under other salts.
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
    for verb in (power, simulate):
        experiment.command(verb.__name__)(verb)


def _history(experiment: "Experiment", data: Path | None, workspace: Path) -> "pl.DataFrame":
    from recsys.experiments.past_units import history_from_file, history_from_log

    if data is not None:
        return history_from_file(data, experiment).frame
    return history_from_log(Workspace(workspace), experiment).frame
