"""The verbs ``recsys log``: upkeep of the event log that somebody asks for."""

import json
from typing import Annotated

import typer

from recsys.clock import WallClock
from recsys.errors import ConfigError
from recsys.event_log import EventLog
from recsys.log_layout import configured_shards
from recsys.log_shards import MOST_SHARDS, reshard
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.schema import DAY_MS
from recsys.timestamps import iso
from recsys.workspace import Workspace
from serving.damage_command import forget_damaged
from serving.retention import prune_workspace
from serving.unread_log import once_unread

RETENTION_DAYS = 395
"""Thirteen months: a year, and the month that is compared with the one a year before."""

log = typer.Typer(help="The event log.", no_args_is_help=True)
log.command()(forget_damaged)


@log.command("prune")
def prune_command(
    days: Annotated[int, typer.Option(min=1, help="Age in days from which events go.")] = RETENTION_DAYS,
    *,
    everything: Annotated[bool, typer.Option("--everything", help="Also when no event is left.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Remove the days of the event log, and of the served lists, that ended longer ago than this."""
    place, before_ms = Workspace(workspace).existing(), WallClock().now_ms() - days * DAY_MS
    if not everything:
        _require_some_left(place, before_ms, days)
    pruned = prune_workspace(place, before_ms, once_unread)
    if json_output:
        typer.echo(json.dumps({"events": pruned.num_events, "list_files": pruned.num_list_files}))
    else:
        typer.echo(
            f"{pruned.num_events:,} events and {pruned.num_list_files:,} files of served lists removed"
        )


@log.command("reshard")
def reshard_command(
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_SHARDS, help="How many, instead of log.num_shards of recsys.toml."),
    ] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Cut the log into so many shards of users, or as many as recsys.toml says; servers go on meanwhile."""
    num_shards, num_appends = reshard_workspace(Workspace(workspace).existing(), shards)
    if json_output:
        typer.echo(json.dumps({"num_shards": num_shards, "appends": num_appends}))
    else:
        typer.echo(f"shards of users: {num_shards:,}; appends cut anew: {num_appends:,}")


def _require_some_left(workspace: Workspace, before_ms: int, days: int) -> None:
    end_ms = EventLog(workspace.events).end_ms()
    if end_ms is not None and end_ms // DAY_MS < before_ms // DAY_MS:
        raise ConfigError(
            f"the last event is of {iso(end_ms)}, so none would be left after {days:,} days; "
            "give a greater --days, or --everything to remove them all"
        )


def reshard_workspace(workspace: Workspace, num_shards: int | None = None) -> tuple[int, int]:
    """Cut a log anew: into how many shards of users, and how many appends were not cut so before.

    Waits until no server starts and no training, on whichever machine, reads the log.

    Args:
        workspace: Whose log.
        num_shards: How many, from 1 to ``MOST_SHARDS``; when absent, ``log.num_shards`` where that is set.

    Raises:
        ConfigError: The configuration cannot be read, or nothing says how many.
        DataError: The log is damaged.
    """
    if num_shards is None:
        num_shards = configured_shards(workspace)
    if num_shards is None:
        raise ConfigError(
            f"{workspace.config} does not say into how many shards; "
            "set log.num_shards there, or give --shards N: with 1, the log is whole again"
        )
    with once_unread(workspace):
        return num_shards, reshard(workspace.events, num_shards)
