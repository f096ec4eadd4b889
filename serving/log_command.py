"""The verbs ``recsys log prune``, which removes what nobody needs any more, and ``recsys log reshard``."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import structlog
import typer

from recsys.clock import WallClock
from recsys.config import load_config
from recsys.errors import ConfigError
from recsys.event_log import MOST_SHARDS, READERS_LOCK, EventLog
from recsys.file_lock import exclusive, exclusive_if_free
from recsys.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from recsys.schema import DAY_MS
from recsys.table_sweep import prune_lists
from recsys.timestamps import iso
from recsys.workspace import Workspace

RETENTION_DAYS = 395
"""Thirteen months: a year, and the month that is compared with the one a year before."""

_ASK_AGAIN_SECONDS = 0.2

_log = structlog.get_logger(__name__)

log = typer.Typer(help="The event log.", no_args_is_help=True)


@log.command()
def prune(
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
    num_events, num_files = prune_workspace(place, before_ms)
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
    """Cut the log into as many shards of users as recsys.toml says; servers go on meanwhile."""
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
        num_shards: How many, from 1 to ``MOST_SHARDS``; when absent, ``log.num_shards``.

    Raises:
        ConfigError: The configuration cannot be read.
        DataError: The log is damaged.
    """
    if num_shards is None:
        num_shards = load_config(workspace.config).log.num_shards
    with _while_nobody_reads(workspace):
        return num_shards, EventLog(workspace.events).reshard(num_shards)


def prune_workspace(workspace: Workspace, before_ms: int) -> tuple[int, int]:
    """Remove whole days that lie before a time: how many events, and how many files of served lists.

    Waits until no server starts and no training, on whichever machine, reads the log.

    Raises:
        DataError: The log is damaged.
    """
    with _while_nobody_reads(workspace):
        return EventLog(workspace.events).prune(before_ms), prune_lists(workspace, before_ms)


@contextmanager
def _while_nobody_reads(workspace: Workspace) -> Iterator[None]:
    """Keep compaction and readers out of a block; those that read already may take hours, and end first."""
    from serving.compaction import COMPACTION_LOCK

    has_told = False
    while True:
        # the one is let go of while the other is waited for: everything that writes the log wants it
        with (
            exclusive(workspace.state / COMPACTION_LOCK),
            exclusive_if_free(workspace.events / READERS_LOCK) as is_unread,
        ):
            if is_unread:
                yield
                return
        if not has_told:
            _log.info("waiting for a training or a server's start that reads the log")
            has_told = True
        time.sleep(_ASK_AGAIN_SECONDS)
