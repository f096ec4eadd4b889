"""Removes from the log what nobody may keep any longer."""

from recsys.config import load_config
from recsys.event_log import EventLog
from recsys.schema import DAY_MS
from recsys.table_sweep import prune_lists
from recsys.workspace import Workspace


def prune(workspace: Workspace, now_ms: int) -> int:
    """Remove events and lists that are older than the configuration allows; how many events went.

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
    before_ms = now_ms - round(days * DAY_MS)
    prune_lists(workspace, before_ms)
    return EventLog(workspace.events).prune(before_ms)
