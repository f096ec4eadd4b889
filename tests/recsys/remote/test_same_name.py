import shutil
from pathlib import Path

import pytest

from recsys.log_shards import reshard
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.record import remote_directory
from recsys.remote.torn import torn_error
from recsys.user_shard import UserShard
from tests.recsys.remote.shops import Shop, events, merge, new_store


def test_what_a_copied_workspace_appends_under_the_same_name_is_lost_by_neither(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    reshard(one.log.path, 2)
    one.buy("buffer-x-1-1", ("e1", "ann"))
    push(one.workspace, store)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one.buy("buffer-x-2-2", ("e2", "ann"))
    other.buy("buffer-x-2-2", ("e3", "bob"))
    one.log.append(events(), "buffer-x-3-3", merges=merge("v1", "ann"))
    other.log.append(events(), "buffer-x-3-3", merges=merge("v2", "bob"))
    other.buy("c", ("e4", "cid"))
    push(one.workspace, store)
    pushed = push(other.workspace, store)
    assert pushed.torn.keys() == {"log/buffer-x-2-2", "log/buffer-x-3-3"}
    assert "copy of a workspace" in str(torn_error(store.url, pushed.torn))
    assert pushed.num_units == 1
    assert pull(other.workspace, store).torn == pushed.torn
    pull(one.workspace, store)
    assert one.bought() == {"e1", "e2", "e4"}
    assert other.bought() == {"e1", "e3", "e4"}
    pull(other.workspace, store, users=UserShard(0, 2))  # other files of the rest
    assert "e3" in other.bought()
    assert pull(other.workspace, store, theirs=True).torn == {}
    assert other.bought() == {"e1", "e2", "e4"}
    assert other.log.merges()["user_id"].to_list() == ["ann"]


@pytest.mark.parametrize("change", ["erasure", "shards"])
def test_an_append_that_was_only_rewritten_there_is_the_same_one(tmp_path: Path, change: str) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    for shop in (one, other):
        shop.buy("a", ("e1", "ann"), ("e2", "bob"), ("e3", "cid"))
        push(shop.workspace, store)
    one.erase("ann") if change == "erasure" else reshard(one.log.path, 4)
    push(one.workspace, store)
    shutil.rmtree(remote_directory(other.workspace))  # nobody knows what was in step
    assert push(other.workspace, store).torn == {}
    assert pull(other.workspace, store).torn == {}
    assert other.bought() == one.bought() == {"e2", "e3"} | ({"e1"} if change == "shards" else set())


def test_a_backup_that_was_restored_overwrites_nothing_that_came_after_it(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one = Shop(tmp_path / "one")
    one.buy("buffer-x-1-1", ("e1", "ann"))
    shutil.copytree(one.workspace.events, tmp_path / "backup")
    one.buy("buffer-x-2-2", ("e2", "ann"))
    push(one.workspace, store)
    shutil.rmtree(one.workspace.events)
    shutil.copytree(tmp_path / "backup", one.workspace.events)
    one.buy("buffer-x-2-2", ("e3", "ann"))  # the record of what was in step is the younger one
    assert push(one.workspace, store).torn.keys() == {"log/buffer-x-2-2"}
    other = Shop(tmp_path / "other")
    pull(other.workspace, store)
    assert pull(one.workspace, store, theirs=True).num_units == 1
    assert one.bought() == {"e1", "e2"}
    assert other.bought() == {"e1", "e2"}
