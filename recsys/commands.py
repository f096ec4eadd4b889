"""The verbs of the engine itself; each parses, makes one call and prints the result."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import filesize
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from recsys.options import DEFAULT_WORKSPACE, EngineOption, JsonOption, WorkspaceOption
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from recsys.promotion import Decision
    from recsys.registry import Entry, Part, Registry

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
    events: Annotated[
        Path | None,
        typer.Option("--events", help="Events: Parquet, CSV or JSON Lines, or .gz, or a directory."),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            "--items",
            help="Items, in any of the same forms; when absent, events must name items of an earlier ingest. "
            "A Metarank log may hold its items among its events.",
        ),
    ] = None,
    users: Annotated[Path | None, typer.Option("--users", help="Users, in any of the same forms.")] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    format: Annotated[  # noqa: A002 (the flag's name)
        str,
        typer.Option("--format", help="What the files say: recsys (own columns) or metarank (its events)."),
    ] = "recsys",
    max_reject_share: Annotated[
        float, typer.Option("--max-reject-share", help="Share of bad rows above which nothing is published.")
    ] = 0.05,
    engine: EngineOption = "local",
    json_output: JsonOption = False,
) -> None:
    """Check items, events and users, any or all of them, and take them into the workspace."""
    from recsys.ingest import ingest as run
    from recsys.runner import runner

    summary = run(
        Workspace(workspace),
        items,
        events,
        users,
        format=format,
        max_reject_share=max_reject_share,
        runner=None if engine == "local" else runner(engine),
    )
    if json_output:
        typer.echo(summary.to_json())
        return
    console = Console()
    table = Table("table", "read", "accepted", "rejected", "duplicates")
    tables = {"items": summary.items, "events": summary.events, "users": summary.users}
    for name, rows in tables.items():
        if rows is not None and rows.read:
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

models = typer.Typer(
    help="The models of a workspace: which there are and which one serves.", no_args_is_help=True
)

_NDCG = "ranker_validation_ndcg@10"


@models.command("list")
def list_models(*, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_output: JsonOption = False) -> None:
    """Show every model: its age, the data it was fitted on, its quality, and the pointers to it."""
    from recsys.registry import Registry

    registry = Registry(Workspace(workspace).registry)
    entries = registry.entries()
    verdicts = {entry.version: _last_verdict(registry, entry) for entry in entries}
    if json_output:
        typer.echo(json.dumps({"models": [_model_row(entry, verdicts[entry.version]) for entry in entries]}))
        return
    if not entries:
        typer.echo(f"no model has been trained in this workspace; run: recsys train --workspace {workspace}")
        return
    table = Table(
        Column("version", overflow="fold"),
        *("pointers", "created", "data until", "validation", "size", "decided"),
        title="models",
        caption=_NDCG,
    )
    for entry in entries:
        decided = verdicts[entry.version]
        verdict = str(decided["verdict"]) if decided is not None else ""
        table.add_row(Text(entry.version), ", ".join(entry.pointers), *_model_cells(entry), verdict)
    Console().print(table)
    for entry in entries:
        if entry.damage is not None:
            typer.echo(f"{entry.version} is damaged: {entry.damage}")


@models.command("verify")
def verify_model(
    version: Annotated[str, typer.Argument(help="A version that `recsys models list` shows.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="File with a key that the model must be signed with.")
    ] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Compare every file with its hash, load the model, and compare how its canary rows score."""
    from recsys.bundle import load_bundle
    from recsys.errors import BundleError
    from recsys.registry import Registry
    from recsys.signature import read_key, require_signature

    registry = Registry(Workspace(workspace).registry)
    registry.require(version)
    problem = None
    try:
        if key is not None:
            require_signature(registry.path(version), read_key(key))
        load_bundle(registry.path(version))
    except BundleError as error:
        problem = str(error)
    if json_output:
        typer.echo(json.dumps({"version": version, "ok": problem is None, "problem": problem}))
    else:
        typer.echo(problem or f"{version} verifies")
    if problem is not None:
        raise typer.Exit(1)


@models.command("sign")
def sign_model(
    version: Annotated[str, typer.Argument(help="A version that `recsys models list` shows.")],
    key: Annotated[Path, typer.Option("--key", help="File with the key, of 32 bytes or more.")],
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Sign a model that verifies; a server with RECSYS_REQUIRE_SIGNATURE takes no other."""
    from recsys.registry import Registry
    from recsys.signature import read_key, sign_bundle

    sign_bundle(Registry(Workspace(workspace).registry).path(version), read_key(key))
    typer.echo(json.dumps({"version": version, "signed": True}) if json_output else f"{version} is signed")


@models.command("promote")
def promote_model(
    version: Annotated[str, typer.Argument(help="A version that `recsys models list` shows.")],
    gates: Annotated[
        str,
        typer.Option(
            "--if", help="Gates to pass, with commas: parity, quality, slices, offpolicy, exposure."
        ),
    ] = "",
    *,
    canary: Annotated[
        float | None,
        typer.Option(
            "--canary", min=0.0, max=100.0, metavar="PERCENT", help="Let it answer a share of the users only."
        ),
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Let it score along unseen only.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Let a model serve, if the gates let it pass; a running server follows. The decision is recorded."""
    from recsys.promotion import gate_names, promote

    names = [name.strip() for name in gates.split(",") if name.strip()]
    if unknown := [name for name in names if name not in gate_names()]:
        raise typer.BadParameter(f"there is no gate {unknown[0]!r}; there are {', '.join(gate_names())}")
    if shadow and canary is not None:
        raise typer.BadParameter("choose one of --canary and --shadow")
    part: Part = "shadow" if shadow else "canary" if canary is not None else "stable"
    decided = promote(Workspace(workspace), version, names, part=part, canary_percent=canary)
    _show_decision(decided, json_output=json_output)


@models.command("rollback")
def roll_back_model(
    *, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_output: JsonOption = False
) -> None:
    """Let the model serve again that served before; a running server follows within a second."""
    from recsys.promotion import roll_back

    _show_decision(roll_back(Workspace(workspace)), json_output=json_output)


@models.command("import")
def import_model(
    ranker: Annotated[Path, typer.Option(help="A LightGBM model, as Booster.save_model writes it.")],
    features: Annotated[
        Path, typer.Option(help='JSON: {"feature_names": [...]}, the columns of the model in order.')
    ],
    ranker_name: Annotated[str, typer.Option(help="Which of the bundle's rankers it replaces.")] = "all",
    *,
    promote: Annotated[bool, typer.Option("--promote", help="Let the new bundle serve.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Make a new bundle of the serving one and a ranker that was trained elsewhere."""
    from recsys.model_import import import_ranker

    made = import_ranker(Workspace(workspace), ranker, features, ranker_name=ranker_name, promote=promote)
    if json_output:
        typer.echo(json.dumps(asdict(made)))
        return
    typer.echo(f"bundle {made.version}: {made.parent_version} with another ranker, of {made.num_trees} trees")
    typer.echo("it is now stable" if made.promoted else "it does not serve; --promote lets it")


# ---- recsys rules ------------------------------------------------------------

rules = typer.Typer(help="The business rules of a workspace, rules.toml.", no_args_is_help=True)


@rules.command("check")
def check_the_rules(
    *, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_output: JsonOption = False
) -> None:
    """Say whether the rules can be read, and which items each of them means today."""
    from recsys.rule_check import check_rules

    checks = check_rules(Workspace(workspace))
    if json_output:
        typer.echo(json.dumps({"rules": [asdict(check) for check in checks]}))
        return
    table = Table("rule", "action", "today", "items", "such as", "remarks")
    for check in checks:
        today = "runs" if check.runs else "does not run"
        cells = (
            check.name,
            check.action,
            today,
            f"{check.num_items:,}",
            check.about or "; ".join(check.titles),
        )
        table.add_row(*(Text(cell) for cell in (*cells, "; ".join(check.remarks))))
    Console().print(table)


def _show_decision(decided: "Decision", *, json_output: bool) -> None:
    """Print a decision; one that refuses ends the command with exit code 1."""
    if json_output:
        typer.echo(json.dumps(asdict(decided), default=dict))
    else:
        for gate in decided.gates:
            typer.echo(f"{gate.name}: {'passed' if gate.passed else 'refused'}")
        for reason in decided.reasons:
            typer.echo(f"- {reason}")
        typer.echo(f"{decided.version} as {decided.part}: {decided.verdict}")
    if decided.verdict == "refused":
        raise typer.Exit(1)


def _last_verdict(registry: "Registry", entry: "Entry") -> dict[str, object] | None:
    """The last decision about a model, as far as a list shows it; ``None`` before the first."""
    from recsys.promotion import decisions

    made = decisions(registry, entry.version) if entry.damage is None else []
    return {name: made[-1][name] for name in ("time", "part", "verdict", "reasons")} if made else None


def _model_row(entry: "Entry", verdict: dict[str, object] | None) -> dict[str, object]:
    """What ``--json`` says of one model; ``damage`` is null and everything else known when it is sound."""
    described = ("created_time", "fitted_until", "metrics", "parent_version")
    known = entry.manifest.model_dump(mode="json", include=set(described)) if entry.manifest else {}
    return {
        "version": entry.version,
        "pointers": list(entry.pointers),
        **{name: known.get(name) for name in described},
        "size_bytes": entry.size_bytes,
        "damage": entry.damage,
        "last_decision": verdict,
    }


def _model_cells(entry: "Entry") -> list[str]:
    manifest, size = entry.manifest, filesize.decimal(entry.size_bytes)
    if manifest is None:
        return ["damaged", "", "", size]
    quality = manifest.metrics.get(_NDCG)
    return [
        f"{manifest.created_time:%Y-%m-%d %H:%M}",
        f"{manifest.fitted_until:%Y-%m-%d %H:%M}",
        "" if quality is None else f"{quality:.4f}",
        size,
    ]
