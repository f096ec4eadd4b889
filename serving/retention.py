"""Removes from the log what nobody may keep any longer."""

from recsys.config import load_config
from recsys.event_log import READERS_LOCK, EventLog
from recsys.file_lock import exclusive_if_free
from recsys.schema import DAY_MS
from recsys.table_sweep import prune_lists
from recsys.workspace import Workspace


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
    before_ms = now_ms - round(days * DAY_MS)
    with exclusive_if_free(workspace.events / READERS_LOCK) as is_unread:
        if not is_unread:
            return 0
        prune_lists(workspace, before_ms)
        return EventLog(workspace.events).prune(before_ms)
