"""How a store's log is cut, for whoever asks for some users' events and expects no others."""

from math import gcd

from recsys.errors import ConfigError
from recsys.remote.head import Head
from recsys.remote.units import kind_of
from recsys.user_shard import ALL_USERS, UserShard


def require_fit(url: str, head: Head, users: UserShard) -> None:
    """Refuse to bring everybody's events to who asked for some users': there may be no room for them.

    Raises:
        ConfigError: Every file of the log would have to be brought.
    """
    files = _event_files(head)
    if users == ALL_USERS or not files or any(gcd(file.count, users.count) > 1 for file in files):
        return
    cuts = sorted({file.count for file in files} - {1})
    cut = f"cut into {cuts[-1]} shards of users" if cuts else "not cut into shards of users"
    other = f", ask for one of {cuts[-1]}" if cuts else ""
    raise ConfigError(
        f"the event log in {url} is {cut}, so {users.number}/{users.count} would bring all of it; on a "
        f"machine that holds it run: recsys log reshard --shards {users.count}, and push{other}; or pull "
        "without --shard"
    )


def num_wider(head: Head, users: UserShard) -> int:
    """How many files of a log hold events of some users and of others too, and come whole."""
    files = [file for file in _event_files(head) if file.shares_users_with(users)]
    return sum(gcd(file.count, users.count) < users.count for file in files)


def _event_files(head: Head) -> list[UserShard]:
    """Whose events the files of a head's log hold."""
    return [
        UserShard.of_file(path)
        for name, unit in head.units.items()
        if kind_of(name) == "log"
        for path in unit
        if path.startswith("events/day=")
    ]
