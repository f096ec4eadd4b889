from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.log_shards import reshard
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.head import File, Head
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.shard_fit import num_wider, require_fit
from recsys.user_shard import ALL_USERS, UserShard, every_shard, shard_number
from tests.recsys.remote.shops import Shop


def cut_into(count: int) -> Head:
    file = File(sha256="0" * 64, size=1, push="p-1")
    paths = [f"events/day=2024-05-01/a{shard.suffix}" for shard in every_shard(count)]
    return Head(number=1, units={"log/a": dict.fromkeys([*paths, "events/_commits/a.json"], file)})


@pytest.mark.parametrize(
    ("count", "users", "problem"),
    [
        (
            1,
            UserShard(3, 16),
            r"shop is not cut into shards of users, so 3/16 .* --shards 16, and push; or",
        ),
        (
            4,
            UserShard(0, 3),
            r"cut into 4 shards of users, so 0/3 .* --shards 3, and push, ask for one of 4",
        ),
    ],
)
def test_a_shard_that_would_bring_the_whole_log_is_refused(
    count: int, users: UserShard, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        require_fit("s3://shop", cut_into(count), users)
    require_fit("s3://shop", cut_into(count), ALL_USERS)
    require_fit("s3://shop", Head(number=1), users)


@pytest.mark.parametrize(
    ("count", "users", "wider"),
    [(4, UserShard(3, 16), 1), (16, UserShard(3, 16), 0), (32, UserShard(3, 16), 0), (4, ALL_USERS, 0)],
)
def test_files_that_hold_others_events_too_are_counted(count: int, users: UserShard, wider: int) -> None:
    require_fit("s3://shop", cut_into(count), users)
    assert num_wider(cut_into(count), users) == wider


def test_a_shard_of_a_log_that_is_not_cut_is_refused_before_anything_is_brought(tmp_path: Path) -> None:
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    one.train("v1")
    push(one.workspace, objects)
    with pytest.raises(ConfigError, match="not cut into shards"):
        pull(other.workspace, objects, users=UserShard(3, 16))
    assert not other.workspace.registry.exists()
    reshard(one.log.path, 2)
    push(one.workspace, objects)
    assert pull(other.workspace, objects, users=UserShard(shard_number("ann", 4), 4)).num_wider == 1
    assert "e1" in other.bought()
