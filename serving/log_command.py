"""The verbs ``recsys log prune``, which removes what nobody needs any more, and ``recsys log reshard``."""

import json
from typing import Annotated

import typer

from recsys.clock import WallClock
from recsys.config import load_config
from recsys.event_log import MOST_SHARDS, READERS_LOCK, EventLog
from recsys.file_lock import exclusive
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.schema import DAY_MS
from recsys.table_sweep import prune_lists
from recsys.workspace import Workspace

RETENTION_DAYS = 395
"""Thirteen months: a year, and the month that is compared with the one a year before."""

log = typer.Typer(help="The event log.", no_args_is_help=True)


@log.command()
def prune(
    days: Annotated[int, typer.Option(min=1, help="Age in days from which events go.")] = RETENTION_DAYS,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Remove the days of the event log, and of the served lists, that ended longer ago than this."""
    num_events, num_files = prune_workspace(Workspace(workspace), WallClock().now_ms() - days * DAY_MS)
    if json_output:
        typer.echo(json.dumps({"events": num_events, "list_files": num_files}))
    else:
        typer.echo(f"{num_events:,} events and {num_files:,} files of served lists removed")


@log.command()
def reshard(
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_SHARDS, help="How many, instead of log.num_shards of recsys.toml."),
    ] = None,
    *,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json_output: JsonOption = False,
) -> None:
    """Cut the log into as many shards of users as recsys.toml says; it can be read all the while."""
    num_shards, num_appends = reshard_workspace(Workspace(workspace), shards)
    if json_output:
        typer.echo(json.dumps({"num_shards": num_shards, "appends": num_appends}))
    else:
        typer.echo(f"shards of users: {num_shards:,}; appends cut anew: {num_appends:,}")


def reshard_workspace(workspace: Workspace, num_shards: int | None = None) -> tuple[int, int]:
    """Cut a log anew: into how many shards of users, and how many appends were not cut so before.

    Args:
        workspace: Whose log.
        num_shards: How many, from 1 to ``MOST_SHARDS``; when absent, ``log.num_shards``.

    Raises:
        ConfigError: The configuration cannot be read.
        DataError: The log is damaged.
    """
    from serving.compaction import COMPACTION_LOCK

    if num_shards is None:
        num_shards = load_config(workspace.config).log.num_shards
    with exclusive(workspace.state / COMPACTION_LOCK):
        return num_shards, EventLog(workspace.events).reshard(num_shards)


def prune_workspace(workspace: Workspace, before_ms: int) -> tuple[int, int]:
    """Remove whole days that lie before a time: how many events, and how many files of served lists.

    Waits until no server and no training, on whichever machine, reads the log.

    Raises:
        DataError: The log is damaged.
    """
    from serving.compaction import COMPACTION_LOCK

    with exclusive(workspace.state / COMPACTION_LOCK), exclusive(workspace.events / READERS_LOCK):
        return EventLog(workspace.events).prune(before_ms), prune_lists(workspace, before_ms)
