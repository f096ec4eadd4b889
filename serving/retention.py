"""Removes from the log, and from the served lists, what nobody may keep any longer."""

from dataclasses import dataclass

from recsys.config import load_config
from recsys.log_pruning import prune_log
from recsys.schema import DAY_MS
from recsys.table_sweep import prune_lists
from recsys.workspace import Workspace
from serving.unread_log import Unread, if_unread


@dataclass(frozen=True)
class Pruned:
    """What was removed."""

    num_events: int = 0
    num_list_files: int = 0


def prune(workspace: Workspace, now_ms: int) -> int:
    """Remove events and lists that are older than the configuration allows; how many events went.

    While a server or a training on any machine reads the log, nothing is removed: the next time comes soon.

    Args:
        workspace: Whose log; the lock of ``serving.compaction`` is held.
        now_ms: The moment, milliseconds since the epoch.

    Raises:
        DataError: The log is damaged.
        ConfigError: The configuration is wrong.
    """
    days = load_config(workspace.config).privacy.retention_days
    if days is None:
        return 0
    return prune_workspace(workspace, now_ms - round(days * DAY_MS), if_unread).num_events


def prune_workspace(workspace: Workspace, before_ms: int, unread: Unread) -> Pruned:
    """Remove whole days of events and served lists that lie before a time.

    Args:
        workspace: Whose.
        before_ms: The time, milliseconds since the epoch.
        unread: What to do while somebody reads the log.

    Raises:
        DataError: The log is damaged.
    """
    with unread(workspace) as is_unread:
        if not is_unread:
            return Pruned()
        num_lists = prune_lists(workspace, before_ms)  # first: a damaged log keeps no list
        return Pruned(prune_log(workspace.events, before_ms), num_lists)
