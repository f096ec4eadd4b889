"""What a workspace holds."""

from contextlib import suppress
from pathlib import Path

from recsys.config import load_config
from recsys.doctor.finding import Checks, Finding, Status
from recsys.errors import BundleError, ConfigError, DataError
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
        "shards": (lambda: _shards(workspace), f"recsys log reshard --shards N --workspace {workspace.root}"),
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

    from recsys.damaged_files import DamagedFiles
    from recsys.event_log import EventLog

    log = EventLog(workspace.events)
    end_ms = log.end_ms()
    if end_ms is None:
        return Finding(Status.WARNING, "none", f"{_INGEST} --workspace {workspace.root}")
    if damaged := DamagedFiles(workspace.events).find():
        raise DataError(f"{', '.join(damaged)} in {workspace.events} is damaged; restore it from a backup")
    try:
        count = log.scan().select(pl.len()).collect().item()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the event log in {workspace.events} cannot be read: {error}") from error
    found = f"{count:,}, the last at {iso(end_ms)}"
    if aside := DamagedFiles(workspace.events).aside():
        mend = "recsys remote pull URL, ingest it from a backup, or give it up: recsys log forget-damaged"
        return Finding(Status.WARNING, f"{found}; damaged and set aside: {len(aside):,} files", mend)
    return Finding(Status.OK, found)


def _shards(workspace: Workspace) -> Finding:
    """Whether the log is cut as the configuration asks; of one that is damaged, another check tells."""
    from recsys.event_log import EventLog
    from recsys.log_layout import configured_shards

    asked = None
    with suppress(ConfigError):
        asked = configured_shards(workspace)
    log = EventLog(workspace.events)
    num_shards = log.num_shards if log.names() else asked or 1
    if asked not in {None, num_shards}:
        return Finding(
            Status.WARNING,
            f"{num_shards:,} of users in the log, {asked:,} in recsys.toml",
            f"recsys log reshard --workspace {workspace.root}",
        )
    return Finding(Status.OK, f"{num_shards:,} of users")


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
