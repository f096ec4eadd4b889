from pathlib import Path

from recsys.damaged_files import DamagedFiles
from recsys.log_pruning import prune_log
from recsys.log_shards import reshard
from recsys.remote.opening import open_objects
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.record import read_record
from recsys.user_shard import UserShard
from tests.recsys.log_events import NOON
from tests.recsys.remote.shops import Shop, new_store


def damage(shop: Shop) -> None:
    """Let a file of the log rot, and a start of the server find it."""
    file = next(shop.workspace.events.glob("day=*/*.parquet"))
    file.write_bytes(b"rot" + file.read_bytes()[3:])
    assert len(DamagedFiles(shop.log.path).set_aside()) == 1


def test_a_file_that_is_damaged_on_one_machine_stays_on_the_others_and_comes_back(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    push(one.workspace, store)
    pull(other.workspace, store)
    damage(one)
    assert one.bought() == set()
    push(one.workspace, store)
    pull(other.workspace, store)
    assert one.bought() == other.bought() == {"e1", "e2"}
    damage(one)
    one.erase("bob")  # who is erased is taken out of what comes back, and of the store
    assert push(one.workspace, store).num_unclean == 0
    pull(other.workspace, store)
    assert one.bought() == other.bought() == {"e1"}
    damage(other)
    assert pull(other.workspace, store).num_units == 1
    assert other.bought() == {"e1"}
    assert push(other.workspace, store).num_units == 0


def test_what_is_left_of_a_damaged_append_is_no_append_to_send(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    for shop in (one, other):
        shop.buy("a", ("e1", "ann"))
    damage(one)
    pushed = push(one.workspace, store)
    assert pushed.num_units == 0
    assert "damaged and set aside" in pushed.left_out["log/a"]
    push(other.workspace, store)
    pull(one.workspace, store)
    assert one.bought() == {"e1"}
    damage(one)
    prune_log(one.log.path, NOON + 99 * 86_400_000)  # it would have gone anyway
    push(one.workspace, store)
    pull(other.workspace, store)
    assert other.bought() == set()


def test_a_machine_that_holds_a_shard_sends_no_part_of_an_append_to_a_new_store(tmp_path: Path) -> None:
    store, new = (new_store(kind="file", root=tmp_path / name) for name in ("old", "new"))
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    reshard(one.log.path, 4)
    one.buy("a", *[(f"e{number}", f"u{number}") for number in range(20)])
    whole = one.bought()
    push(one.workspace, store)
    pull(other.workspace, store, users=UserShard(1, 4))
    part = other.bought()
    other.buy("b", ("own", "u1"))
    pushed = push(other.workspace, new)
    assert pushed.num_units == 1 + 1  # its own append, and the layout
    assert "1 appends, such as log/a, are held for a shard" in pushed.left_out["event log"]
    assert push(one.workspace, new).num_units == 1
    pull(one.workspace, new)
    assert one.bought() == {*whole, "own"}
    push(other.workspace, new)
    assert other.bought() == {*part, "own"}

    (tmp_path / "new" / "store").rename(tmp_path / "lost")  # the same, of a prefix that was emptied
    push(other.workspace, new)
    push(one.workspace, new)
    pull(one.workspace, new)
    assert one.bought() == {*whole, "own"}
    pull(other.workspace, new)
    assert other.bought() == {*whole, "own"}


def test_a_part_of_an_append_that_was_sent_as_the_whole_takes_nothing_from_who_has_it(tmp_path: Path) -> None:
    store = new_store(kind="file", root=tmp_path)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    for shop in (one, other):
        reshard(shop.log.path, 4)
        shop.buy("a", *[(f"e{number}", f"u{number}") for number in range(20)])
    whole = one.bought()
    prune_log(other.log.path, NOON + 9 * 86_400_000)
    push(other.workspace, store)
    assert push(one.workspace, store).torn.keys() == pull(one.workspace, store).torn.keys() == {"log/a"}
    assert one.bought() == whole
    assert pull(one.workspace, store, theirs=True).torn == {}
    assert one.bought() == set()


def test_a_store_is_the_same_one_with_a_slash_at_its_end(tmp_path: Path) -> None:
    one = Shop(tmp_path / "one")
    one.buy("a", ("e1", "ann"))
    url = f"file://{tmp_path}/store"
    push(one.workspace, open_objects(url))
    assert read_record(one.workspace, f"{url}/", "somebody").units.keys() == {"log/a"}
