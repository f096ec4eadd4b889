"""What a workspace holds."""

from pathlib import Path

from recsys.config import load_config
from recsys.doctor.finding import Checks, Finding, Status
from recsys.errors import BundleError, DataError
from recsys.timestamps import iso
from recsys.workspace import Workspace

_INGEST = "recsys ingest --items FILE --events FILE"


def contents(workspace: Workspace) -> Checks:
    """Checks of a workspace."""
    again = "restore it from a backup, or ingest and train in a new workspace"
    return {
        "configuration": (lambda: _configuration(workspace.config), f"correct {workspace.config}"),
        "items": (lambda: _items(workspace), again),
        "events": (lambda: _events(workspace), again),
        "models": (lambda: _models(workspace), again),
    }


def _configuration(path: Path) -> Finding:
    load_config(path)
    return Finding(Status.OK, str(path) if path.exists() else "defaults (there is no recsys.toml)")


def _items(workspace: Workspace) -> Finding:
    from recsys.tables import read_items

    if not any(workspace.items.glob("*.parquet")):
        return Finding(Status.WARNING, "none", f"{_INGEST} --workspace {workspace.root}")
    return Finding(Status.OK, f"{read_items(workspace).height:,}")


def _events(workspace: Workspace) -> Finding:
    import polars as pl

    from recsys.event_log import EventLog

    log = EventLog(workspace.events)
    end_ms = log.end_ms()
    if end_ms is None:
        return Finding(Status.WARNING, "none", f"{_INGEST} --workspace {workspace.root}")
    if damaged := log.damaged():
        raise DataError(f"{', '.join(damaged)} in {workspace.events} is damaged; restore it from a backup")
    try:
        count = log.scan().select(pl.len()).collect().item()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the event log in {workspace.events} cannot be read: {error}") from error
    return Finding(Status.OK, f"{count:,}, the last at {iso(end_ms)}")


def _models(workspace: Workspace) -> Finding:
    from recsys.manifest import verify_files
    from recsys.registry import Registry

    entries = Registry(workspace.registry).entries()
    stable = next((entry for entry in entries if "stable" in entry.pointers), None)
    if stable is None:
        return Finding(
            Status.WARNING, f"{len(entries)}, none serves", f"recsys train --workspace {workspace.root}"
        )
    if stable.manifest is None:
        raise BundleError(f"{stable.version} is to serve and is damaged: {stable.damage}")
    verify_files(Registry(workspace.registry).path(stable.version), stable.manifest)
    found = f"{len(entries)}, {stable.version} serves"
    if damaged := [entry.version for entry in entries if entry.damage is not None]:
        return Finding(Status.WARNING, f"{found}; damaged: {', '.join(damaged)}", "see: recsys models list")
    return Finding(Status.OK, found)
