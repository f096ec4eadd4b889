"""The verb ``recsys log forget-damaged``, which gives up what was set aside and nobody can bring back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from recsys.damaged_files import AsideFile, DamagedFiles
from recsys.errors import ConfigError
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.remote.record import stored_units
from recsys.workspace import Workspace


@dataclass(frozen=True)
class Aside:
    """What was set aside of a workspace's log."""

    gone: Sequence[AsideFile]
    """Of appends that no object store is known to have."""
    stored: Sequence[AsideFile]
    """Of the others: a pull brings it back, and giving it up would take it from the store."""

    @property
    def appends(self) -> set[str]:
        """The appends that it is given up of."""
        return {one.append for one in self.gone}


def forget_damaged(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Give it up; without, it is only said what.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Give up damaged files that were set aside, so that what is left of their appends is whole."""
    place = Workspace(workspace).existing()
    aside = set_aside_of(place)
    if aside.gone and not yes:
        raise ConfigError(
            f"{lost_rows(aside.gone)} would be lost for good; ingest them from a backup, "
            "or give them up with --yes"
        )
    lost = DamagedFiles(place.events).give_up(aside.appends)
    if json_output:
        typer.echo(json.dumps(_document(lost) | {"kept_for_store": len(aside.stored)}))
        return
    typer.echo(f"given up: {lost_rows(lost)}" if lost else "nothing is set aside that no store has")
    if aside.stored:
        typer.echo(f"{len(aside.stored):,} files are in the object store; run: recsys remote pull URL")


def set_aside_of(workspace: Workspace) -> Aside:
    """What was set aside, and whether an object store has it.

    Raises:
        DataError: A commit is damaged.
    """
    aside, stored = DamagedFiles(workspace.events).aside(), stored_units(workspace)
    return Aside(
        [one for one in aside if f"log/{one.append}" not in stored],
        [one for one in aside if f"log/{one.append}" in stored],
    )


def lost_rows(files: Sequence[AsideFile]) -> str:
    """How many events and logins files hold, in words."""
    found = _document(files)
    words = [f"{found['events']:,} events", f"{found['logins']:,} logins"]
    if unreadable := found["unreadable_files"]:
        words.append(f"what {unreadable:,} files held that cannot be read")
    return f"{', '.join(words)} (files: {found['files']:,})"


def _document(files: Sequence[AsideFile]) -> dict[str, int]:
    return {
        "events": sum(one.num_rows or 0 for one in files if not one.has_logins),
        "logins": sum(one.num_rows or 0 for one in files if one.has_logins),
        "unreadable_files": sum(one.num_rows is None for one in files),
        "files": len(files),
    }
