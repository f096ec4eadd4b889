from pathlib import Path

from recsys.remote.pull import pull
from recsys.remote.push import push
from tests.recsys.remote.shops import NOON, Shop, new_store


def damage(shop: Shop) -> None:
    """Let a file of the log rot, and a start of the server find it."""
    file = next(shop.workspace.events.glob("day=*/*.parquet"))
    file.write_bytes(b"rot" + file.read_bytes()[3:])
    assert len(shop.log.set_aside_damaged()) == 1


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
    one.log.prune(NOON + 99 * 86_400_000)  # it would have gone anyway
    push(one.workspace, store)
    pull(other.workspace, store)
    assert other.bought() == set()
