"""``recsys experiment``: what operators do with experiments. A verb parses, makes one call and prints."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys.experiments import analysis_commands, planning_commands
from recsys.experiments.offline_commands import compare_interleaved, evaluate_from_log, interleave_files
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.experiments.history import Running
from recsys.experiments.registry import ExperimentRegistry

experiment = typer.Typer(
    help="Define experiments, ramp and watch them, and read their results.", no_args_is_help=True
)
experiment.command("evaluate-offline")(evaluate_from_log)
experiment.command("interleave")(interleave_files)
experiment.command("preference")(compare_interleaved)

analysis_commands.add_to(experiment)
planning_commands.add_to(experiment)

_DefinitionArgument = Annotated[Path, typer.Argument(help="The definition, a TOML file.")]
_KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The experiment's key.")]
_ReasonOption = Annotated[str, typer.Option("--reason", help="For the audit log.")]


@experiment.command("validate")
def validate(
    definition: _DefinitionArgument,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Say whether a definition can start now, beside what runs, and what looks like a mistake in it."""
    from recsys.experiments.definition import load_experiment
    from recsys.experiments.remarks import remarks

    defined = load_experiment(definition)
    registry = _registry(workspace)
    registry.check(defined)
    found = remarks(defined, Workspace(workspace), registry.audit())
    if json_output:
        _print_json({"key": defined.key, "fingerprint": defined.fingerprint, "remarks": found})
        return
    typer.echo(f"{defined.key}: sound, {len(defined.arms)} arms, {len(defined.metrics)} metrics")
    for remark in found:
        typer.echo(f"- {remark}")


@experiment.command("start")
def start(
    definition: _DefinitionArgument,
    *,
    reason: _ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Freeze a definition as a version in the registry, and let every server assign by it."""
    from recsys.experiments.definition import definition_text, parse_experiment
    from recsys.experiments.remarks import remarks

    registry, text = _registry(workspace), definition_text(definition)
    found = remarks(parse_experiment(text, str(definition)), Workspace(workspace), registry.audit())
    started = registry.start(text, str(definition), reason=reason)
    _print_one(started, f"runs as version {started.version}, hash {_short(started)}", json_output=json_output)
    for remark in found:
        typer.echo(f"- {remark}", err=True)


@experiment.command("ramp")
def ramp(
    key: _KeyArgument,
    *,
    coverage: Annotated[float, typer.Option("--coverage", help="Share that takes part, up to 1.")],
    reason: _ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Let a larger share of the units take part; nobody changes arms."""
    ramped = _registry(workspace).ramp(key, coverage, reason=reason)
    _print_one(ramped, f"covers {ramped.coverage:.4g} of its units", json_output=json_output)


@experiment.command("stop")
def stop(
    key: _KeyArgument,
    *,
    reason: _ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """End an experiment; its definition and its exposures stay."""
    stopped = _registry(workspace).stop(key, reason=reason)
    _print_one(stopped, "stopped", json_output=json_output)


@experiment.command("force")
def force(
    key: _KeyArgument,
    *,
    unit: Annotated[str, typer.Option("--unit", help="The unit's id.")],
    arm: Annotated[str | None, typer.Option("--arm", help="Absent: as the hash says again.")] = None,
    reason: _ReasonOption = "",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Give one unit an arm by hand; what it is shown is left out of the analysis."""
    forced = _registry(workspace).force(key, unit, arm, reason=reason)
    _print_one(forced, f"gives {len(forced.forced)} units an arm by hand", json_output=json_output)


@experiment.command("list")
def list_all(*, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_output: JsonOption = False) -> None:
    """List every experiment that was started."""
    found = _registry(workspace).all()
    if json_output:
        _print_json({"experiments": [_summary(each) for each in found]})
        return
    table = Table("experiment", "layer", "arms", "since (UTC)")
    for each in found:
        row = _summary(each)
        layer = f"{row['layer']}\n{row['layer_range']}"
        about = f"{row['key']}\nversion {row['version']}, {row['state']}, coverage {each.coverage:.4g}"
        arms = ", ".join(f"{key} {weight:.4g}" for key, weight in row["arms"].items())
        since = row["started"][:16].replace("T", "\n")
        table.add_row(*map(Text, (about, layer, arms, since)))
    Console().print(table)


@experiment.command("show")
def show(
    key: _KeyArgument, *, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_output: JsonOption = False
) -> None:
    """Show an experiment: its definition as it is frozen, and what happened to it."""
    registry = _registry(workspace)
    found = registry.find(key)
    entries = [entry for entry in registry.audit() if entry.key == key]
    if json_output:
        defined = found.experiment.model_dump(mode="json")
        history = [entry.model_dump(mode="json", exclude_none=True) for entry in entries]
        _print_json(_summary(found) | {"definition": defined, "audit": history})
        return
    typer.echo(registry.path(key, found.version).read_text(encoding="utf-8").rstrip())
    table = Table("time (UTC)", "action", "version", "coverage", "unit", "arm", "by", "reason")
    for entry in entries:
        coverage = "" if entry.coverage is None else f"{entry.coverage:.4g}"
        about = (entry.version, coverage, entry.unit or "", entry.arm or "", entry.by, entry.reason)
        table.add_row(f"{entry.time:%Y-%m-%d %H:%M:%S}", entry.action, *(Text(str(cell)) for cell in about))
    Console().print(table)


@experiment.command("assign")
def assign_units(
    *,
    definition: Annotated[Path, typer.Option("--definition", help="The definition, a TOML file.")],
    units: Annotated[
        Path, typer.Option("--units", help="CSV with a column unit_id; the others are attributes.")
    ],
    output: Annotated[Path | None, typer.Option("--output", help="CSV or Parquet; absent: stdout.")] = None,
    coverage: Annotated[
        float | None, typer.Option("--coverage", min=0, max=1, help="Instead of the definition's.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Say which arm every unit of a file gets: columns unit_id, arm (empty for none) and bucket."""
    from recsys.experiments.bulk import assign_file, write_table

    frame = assign_file(definition, units, coverage)
    if output is not None:
        write_table(frame, output)
    if json_output:
        _print_json(frame.to_dicts())
    elif output is None:
        typer.echo(frame.write_csv(), nl=False)


def _registry(workspace: Path) -> "ExperimentRegistry":
    from recsys.experiments.registry import ExperimentRegistry

    return ExperimentRegistry(Workspace(workspace))


def _summary(found: "Running") -> dict[str, Any]:
    defined = found.experiment
    return {
        "key": defined.key,
        "version": found.version,
        "fingerprint": defined.fingerprint,
        "state": "running" if found.is_running else "stopped",
        "coverage": found.coverage,
        "layer": defined.layer,
        "layer_range": list(defined.layer_range),
        "arms": {arm.key: arm.weight for arm in defined.arms},
        "started": found.started.isoformat(),
        "stopped": found.stopped.isoformat() if found.stopped else None,
        "reason": found.reason,
        "forced": dict(found.forced),
    }


def _print_one(found: "Running", words: str, *, json_output: bool) -> None:
    if json_output:
        _print_json(_summary(found))
    else:
        typer.echo(f"{found.experiment.key} {words}")


def _short(found: "Running") -> str:
    return found.experiment.fingerprint[:12]


def _print_json(document: Mapping[str, object] | Sequence[object]) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False))
