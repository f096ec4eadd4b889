"""The event log of a workspace as whoever appends to it first has to find it."""

from recsys.config import load_config
from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.workspace import Workspace


def configured_shards(workspace: Workspace) -> int | None:
    """Shards of users that ``recsys.toml`` asks for; ``None`` where it does not say.

    Raises:
        ConfigError: The configuration cannot be read.
    """
    log = load_config(workspace.config).log
    return log.num_shards if "num_shards" in log.model_fields_set else None


def num_user_shards(workspace: Workspace) -> int:
    """Shards of users of the next append: the log's, or ``log.num_shards`` of a log without any append.

    Raises:
        ConfigError: The configuration cannot be read.
        DataError: The log's layout is damaged.
    """
    log = EventLog(workspace.events)
    return log.num_shards if log.names() else load_config(workspace.config).log.num_shards


def log_for_appends(workspace: Workspace) -> EventLog:
    """The log, so that its next append is cut into ``num_user_shards``, which raises what this raises."""
    log, num_shards = EventLog(workspace.events), num_user_shards(workspace)
    if num_shards != log.num_shards:
        reshard(log.path, num_shards)
    return log
