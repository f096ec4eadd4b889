"""The event log of a workspace as whoever appends to it first has to find it."""

from recsys.config import load_config
from recsys.event_log import EventLog
from recsys.workspace import Workspace


def log_for_appends(workspace: Workspace) -> EventLog:
    """The log; one without any append is cut as ``log.num_shards`` says, any other is left as it is.

    Raises:
        ConfigError: The configuration cannot be read.
        DataError: The log's layout is damaged.
    """
    log = EventLog(workspace.events)
    if not log.names():
        num_shards = load_config(workspace.config).log.num_shards
        if num_shards != log.num_shards:
            log.reshard(num_shards)
    return log
