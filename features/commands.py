"""Verbs of the command line that verify."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.workspace import Workspace, atomic_path

verify = typer.Typer(no_args_is_help=True, help="Prove that what was promised holds.")


@verify.callback()
def _group() -> None:
    """Prove that what was promised holds."""


@verify.command()
def parity(
    users: Annotated[int, typer.Option(min=1, help="Users to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Replay the log online and compare every feature and the final order with the offline ones."""
    from features.parity import TOLERANCE, verify_parity
    from features.registry import fingerprint
    from recsys.bundle import load_bundle
    from recsys.event_log import EventLog
    from recsys.log_presence import require_events
    from recsys.manifest import read_manifest
    from recsys.registry import Registry

    place = Workspace(workspace)
    directory = Registry(place.registry).stable()
    bundle = load_bundle(directory, fingerprint(read_manifest(directory).config.state))
    require_events(place)
    report = verify_parity(bundle, EventLog(place.events), num_users=users, seed=seed)
    with atomic_path(place.reports / f"{bundle.manifest.version}-parity.json") as path:
        path.write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    if json_output:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        table = Table("feature", "largest error", "")
        for name, error in report.max_error.items():
            table.add_row(name, f"{error:.1e}", "" if error <= TOLERANCE else "differs")
        Console().print(table)
        typer.echo(
            f"{report.rows:,} rows, {report.order_mismatches} orders differ, {report.excluded_users} users "
            "too large to compare: " + ("offline equals online" if report.ok else "offline and online differ")
        )
    if not report.ok:
        raise typer.Exit(1)
