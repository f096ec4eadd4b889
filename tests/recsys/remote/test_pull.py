from pathlib import Path

import polars as pl
import pytest

from recsys.damaged_files import DamagedFiles
from recsys.errors import ConfigError, DataError, ObjectStoreError
from recsys.log_shards import reshard
from recsys.objections import Objections
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.own_units import OwnUnits
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.record import Mark, read_record
from recsys.remote.torn import torn_error
from recsys.table_sweep import prune_lists
from recsys.user_shard import UserShard, shard_number
from tests.recsys.log_events import HOUR, NOON
from tests.recsys.remote.shops import Shop, events, merge


def store(tmp_path: Path) -> DirectoryObjects:
    return DirectoryObjects("file:///store", tmp_path / "store")


def shops(tmp_path: Path) -> tuple[Shop, Shop]:
    return Shop(tmp_path / "one"), Shop(tmp_path / "other")


def in_shard(number: int, count: int) -> list[str]:
    return [user for user in map(str, range(100)) if shard_number(user, count) == number]


def test_a_machine_may_hold_one_shard_of_the_users_and_push_what_it_does(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    reshard(one.log.path, 2)
    ann, cid = in_shard(0, 2)[:2]
    bob, visitor = in_shard(1, 2)[:2]
    one.buy("a", ("e1", ann), ("e2", bob))
    one.buy("b", ("e3", cid))
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), users=UserShard(0, 2))
    assert other.bought() == {"e1", "e3"}
    assert len(list(other.workspace.events.glob("day=*/*"))) == 2

    other.buy("c", ("e4", ann))  # it may add to the log, and spoils nothing that it does not hold
    assert push(other.workspace, store(tmp_path)).num_units == 1
    pull(one.workspace, store(tmp_path))
    assert one.bought() == {"e1", "e2", "e3", "e4"}

    one.log.append(events(("e5", visitor)), "d")
    one.log.append(events(), "e", merges=merge(visitor, ann))  # the visitor was ann
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), users=UserShard(0, 2))
    shard = UserShard(0, 2)
    assert set(other.log.scan(shard=shard).collect()["event_id"]) == {"e1", "e3", "e4", "e5"}
    assert set(one.log.scan(shard=shard).collect()["event_id"]) == {"e1", "e3", "e4", "e5"}
    pull(other.workspace, store(tmp_path), users=UserShard(1, 2))
    assert other.bought() == {"e2", "e5"}
    pull(other.workspace, store(tmp_path))
    assert other.bought() == one.bought()


def test_a_shard_of_a_log_that_is_not_cut_is_refused_before_anything_is_brought(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    one.train("v1")
    push(one.workspace, store(tmp_path))
    with pytest.raises(ConfigError, match=r"file:///store is not cut .* 3/16 .* recsys log reshard 16, and"):
        pull(other.workspace, store(tmp_path), users=UserShard(3, 16))
    assert other.bought() == set()
    reshard(one.log.path, 2)
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), users=UserShard(shard_number("ann", 2), 2))
    assert "e1" in other.bought()


def test_a_machine_that_holds_a_shard_still_holds_it_after_a_pull_of_models_alone(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    reshard(one.log.path, 2)
    one.buy("a", *((f"e{user}", user) for user in in_shard(0, 2)[:2] + in_shard(1, 2)[:2]))
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), users=UserShard(0, 2))
    held = other.bought()
    one.train("v1")
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), parts=["models"])
    assert read_record(other.workspace, "file:///store", "somebody").users == UserShard(0, 2)
    one.erase(in_shard(0, 2)[0])
    push(one.workspace, store(tmp_path))
    push(other.workspace, store(tmp_path))
    assert other.bought() < held


def test_an_erasure_on_a_machine_that_holds_a_shard_says_that_the_others_are_to_be_cleaned(
    tmp_path: Path,
) -> None:
    one, other = shops(tmp_path)
    reshard(one.log.path, 2)
    ann, bob = in_shard(0, 2)[0], in_shard(1, 2)[0]
    one.buy("a", ("e1", ann), ("e2", bob))
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), users=UserShard(1, 2))
    other.erase(ann)
    assert push(other.workspace, store(tmp_path)).num_unclean == 1
    pull(one.workspace, store(tmp_path))
    assert one.bought() == {"e2"}
    assert push(one.workspace, store(tmp_path)).num_units == 1
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, store(tmp_path))
    assert not reader.log.is_behind(1)


def test_two_ingests_at_once_are_a_conflict_that_says_what_to_do(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    one.offer("hat")
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path))
    one.offer("hat", "scarf")
    other.offer("hat", "glove")
    other.buy("a", ("e1", "ann"))
    push(one.workspace, store(tmp_path))
    pushed = push(other.workspace, store(tmp_path))
    with pytest.raises(
        ObjectStoreError, match=r"items: take .* pull file:///store --theirs; then ingest again"
    ):
        raise torn_error("file:///store", pushed.torn) or AssertionError
    assert pushed.num_units == 1  # the events went nevertheless
    pull(other.workspace, store(tmp_path), theirs=True)
    assert other.items() == {"hat", "scarf"}


def with_lists(shop: Shop, *days: int) -> None:
    """Served lists of days of May."""
    for day in days:
        path = shop.workspace.served_lists / f"day=2024-05-0{day}" / "x.parquet"
        path.parent.mkdir(parents=True)
        pl.DataFrame({"subject": ["ann"]}).write_parquet(path)


def days_of(shop: Shop) -> list[int]:
    return sorted(int(path.parent.name[-2:]) for path in shop.workspace.served_lists.glob("*/*.parquet"))


@pytest.mark.parametrize("num_kept", [0, 1])
def test_lists_that_were_pruned_go_from_the_store_and_from_the_others(tmp_path: Path, num_kept: int) -> None:
    one, other = shops(tmp_path)
    with_lists(one, 1, 2)
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path))
    assert prune_lists(one.workspace, NOON + (2 - num_kept) * 24 * HOUR) == 2 - num_kept
    pull(one.workspace, store(tmp_path))
    assert days_of(one) == [2][:num_kept], "a pull brings back nothing that was pruned"
    assert push(one.workspace, store(tmp_path)).num_removed == 2 - num_kept
    pull(other.workspace, store(tmp_path))
    assert days_of(other) == [2][:num_kept]


def test_lists_that_were_lost_beside_others_come_back(tmp_path: Path) -> None:
    one, _ = shops(tmp_path)
    with_lists(one, 1, 2, 3)
    push(one.workspace, store(tmp_path))
    prune_lists(one.workspace, NOON + 24 * HOUR)
    (one.workspace.served_lists / "day=2024-05-03" / "x.parquet").unlink()
    assert push(one.workspace, store(tmp_path)).num_removed == 1
    pull(one.workspace, store(tmp_path))
    assert days_of(one) == [2, 3]


def test_a_lost_disk_takes_nothing_from_the_store(tmp_path: Path) -> None:
    one, _ = shops(tmp_path)
    one.buy("a", ("e1", "ann"))
    one.train("v1")
    with_lists(one, 1)
    push(one.workspace, store(tmp_path))
    for name in ("events", "registry", "served_lists"):
        (one.workspace.root / name).rename(tmp_path / name)
    assert push(one.workspace, store(tmp_path)).num_removed == 0
    assert pull(one.workspace, store(tmp_path)).num_units == 4
    assert one.bought() == {"e1"}
    assert one.registry.pointers().stable == "v1"


def test_a_store_that_was_emptied_takes_nothing_from_the_machines(tmp_path: Path) -> None:
    one, _ = shops(tmp_path)
    one.buy("a", ("e1", "ann"))
    Objections(one.workspace.root).set("bob", objects=True)
    push(one.workspace, store(tmp_path))
    (tmp_path / "store").rename(tmp_path / "lost")
    with pytest.raises(ObjectStoreError, match="nothing was pushed"):
        pull(one.workspace, store(tmp_path))
    assert push(one.workspace, store(tmp_path)).num_units == 1
    assert "bob" in Objections(one.workspace.root)


def test_objections_travel_and_so_does_their_end(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    Objections(one.workspace.root).set("ann", objects=True)
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path))
    assert "ann" in Objections(other.workspace.root)
    Objections(other.workspace.root).set("ann", objects=False)
    Objections(other.workspace.root).set("bob", objects=True)
    push(other.workspace, store(tmp_path))
    pull(one.workspace, store(tmp_path))
    assert "ann" not in Objections(one.workspace.root)
    assert "bob" in Objections(one.workspace.root)
    key = other.workspace.root / "privacy" / "digests.key"
    assert key.stat().st_mode & 0o077 == 0


def test_a_machine_that_names_people_by_another_key_is_refused(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    for shop in (one, other):
        Objections(shop.workspace.root).set("ann", objects=True)
    push(one.workspace, store(tmp_path))
    with pytest.raises(ConfigError, match="another key than the store's"):
        pull(other.workspace, store(tmp_path))


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_store_changes_nothing_here(tmp_path: Path, damage: str) -> None:
    one, other = shops(tmp_path)
    one.buy("a", ("e1", "ann"))
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path))
    one.buy("b", ("e2", "ann"))
    push(one.workspace, store(tmp_path))
    [path] = (tmp_path / "store").glob("data/events/day=*/b.parquet/*")
    path.write_bytes(b"x" * path.stat().st_size) if damage == "changed" else path.unlink()
    with pytest.raises(ObjectStoreError, match="push it again"):
        pull(other.workspace, store(tmp_path))
    assert other.bought() == {"e1"}


def test_a_damaged_log_is_not_pushed(tmp_path: Path) -> None:
    one, _ = shops(tmp_path)
    one.buy("a", ("e1", "ann"))
    [path] = one.workspace.events.glob("day=*/*")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DataError, match="not as it was written"):
        push(one.workspace, store(tmp_path))


def test_a_machine_that_serves_needs_only_the_models_that_are_pointed_at(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    one.buy("a", ("e1", "ann"))
    one.train("v1", promote=False)
    one.train("v2")
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path), parts=["models"], pointed=True)
    assert [entry.version for entry in other.registry.entries()] == ["v2"]
    assert other.registry.pointers().stable == "v2"
    assert other.log.names() == []
    assert push(other.workspace, store(tmp_path)).num_units == 0


@pytest.mark.parametrize("erased", [False, True])
def test_a_file_that_was_lost_here_is_said_by_a_push_and_comes_back_with_a_pull(
    tmp_path: Path, erased: bool
) -> None:
    one, other = shops(tmp_path)
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    push(one.workspace, store(tmp_path))
    pull(other.workspace, store(tmp_path))
    one.buy("b", ("e3", "cid"))
    push(one.workspace, store(tmp_path))
    if erased:
        pull(other.workspace, store(tmp_path))
        other.erase("ann")
        push(other.workspace, store(tmp_path))
    [path] = one.workspace.events.glob("day=*/a.parquet")
    path.unlink()
    with pytest.raises(DataError, match=r"a\.parquet is gone; .* run: recsys remote pull"):
        push(one.workspace, store(tmp_path))
    assert pull(one.workspace, store(tmp_path)).num_units == 1 + int(erased)
    assert one.bought() == {"e2", "e3"} | (set() if erased else {"e1"})
    assert DamagedFiles(one.log.path).find() == []
    assert not one.log.is_behind(int(erased))
    assert push(one.workspace, store(tmp_path)).num_units == 0


def test_an_erasure_that_cannot_reach_a_lost_file_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    one, other = shops(tmp_path)
    one.buy("a", ("e1", "ann"))
    other.erase("ann")
    push(other.workspace, store(tmp_path))
    [path] = one.workspace.events.glob("day=*/a.parquet")
    path.rename(tmp_path / "backup")
    with pytest.raises(DataError, match="who was erased cannot be taken out"):
        pull(one.workspace, store(tmp_path))
    (tmp_path / "backup").rename(path)
    pull(one.workspace, store(tmp_path))
    assert b"ann" not in b"".join(path.read_bytes() for path in one.workspace.events.glob("day=*/*"))


def test_a_list_that_retention_takes_while_it_is_looked_at_is_no_error(tmp_path: Path) -> None:
    one, _ = shops(tmp_path)
    path = one.workspace.served_lists / "day=2024-05-01" / "x.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a list")

    class Retention(dict[str, Mark]):
        def get(self, name: str, default: Mark | None = None) -> Mark | None:  # type: ignore[override]
            path.unlink(missing_ok=True)
            return super().get(name, default)

    assert OwnUnits(one.workspace, Retention()).look(["data"]) == {}
