from pathlib import Path

import polars as pl
import pytest

from recsys.errors import ModelConflictError
from recsys.remote.objects import Objects
from recsys.remote.people import word_of_erasures
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.remote.torn import torn_error
from tests.recsys.remote.shops import Shop, everything, new_store


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return new_store(hash(str(tmp_path)), getattr(request, "param", "memory"), tmp_path)


both = pytest.mark.parametrize("store", ["memory", "file"], indirect=True)


@both
def test_what_one_machine_pushes_another_one_has_after_a_pull(store: Objects, tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"), ("e2", "bob"))
    one.offer("hat")
    one.train("v1")
    pushed = push(one.workspace, store)
    assert (pushed.number, pushed.num_units, pushed.torn) == (1, 4, {})
    pulled = pull(other.workspace, store)
    assert (pulled.number, pulled.num_units, pulled.torn) == (1, 4, {})
    assert other.bought() == {"e1", "e2"}
    assert other.items() == {"hat"}
    assert other.registry.pointers() == one.registry.pointers()
    assert other.registry.require("v1") == one.registry.require("v1")
    assert pull(other.workspace, store).num_units == 0
    assert push(other.workspace, store).num_units == 0
    assert push(one.workspace, store).num_bytes == 0


def test_both_machines_append_and_nothing_is_lost_or_sent_twice(store: Objects, tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"))
    other.buy("b", ("e2", "bob"))
    push(one.workspace, store)
    pushed = push(other.workspace, store)
    assert (pushed.number, pushed.num_units) == (2, 1)
    for shop in (one, other):
        pull(shop.workspace, store)
        assert shop.bought() == {"e1", "e2"}
        assert push(shop.workspace, store).num_units == 0


def test_who_is_erased_is_nowhere_in_the_store_and_not_brought_back(store: Objects, tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann-the-erased"), ("e2", "bob"))
    one.buy("b", ("e3", "bob"))
    push(one.workspace, store)
    pull(other.workspace, store)
    other.buy("c", ("e4", "ann-the-erased"), ("e5", "cid"))  # other does not know yet
    one.erase("ann-the-erased")
    assert push(one.workspace, store).num_removed == 3
    assert b"ann-the-erased" not in _unpacked(store)
    push(other.workspace, store)
    assert b"ann-the-erased" not in _unpacked(store)
    pull(one.workspace, store)
    pull(other.workspace, store)
    assert word_of_erasures(other.workspace.root).exists()
    assert not word_of_erasures(one.workspace.root).exists()
    assert one.bought() == other.bought() == {"e2", "e3", "e5"}
    assert other.log.is_behind(1) is False


def test_a_push_of_models_takes_the_erased_out_of_the_store_too_and_sends_nothing_else(
    store: Objects, tmp_path: Path
) -> None:
    one, reader = Shop(tmp_path / "one"), Shop(tmp_path / "reader")
    one.buy("a", ("e1", "ann-the-erased"), ("e2", "bob"))
    push(one.workspace, store)
    one.buy("b", ("e3", "bob"))
    one.offer("hat")
    one.erase("ann-the-erased")
    pushed = push(one.workspace, store, parts=["models"])
    assert (pushed.num_units, pushed.num_unclean) == (1, 0)
    assert b"ann-the-erased" not in _unpacked(store)
    pull(reader.workspace, store)
    assert reader.bought() == {"e2"}


def test_a_push_after_an_erasure_says_what_another_machine_holds_of_people(
    store: Objects, tmp_path: Path
) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann-the-erased"))
    push(one.workspace, store)
    other.erase("ann-the-erased")
    assert push(other.workspace, store, parts=["models"]).num_unclean == 1
    push(one.workspace, store, parts=["models"])
    assert b"ann-the-erased" not in _unpacked(store)


def _unpacked(store: Objects) -> bytes:
    import io

    rows = [
        pl.read_parquet(io.BytesIO(store.read(name))).write_csv().encode()
        for name in store.list("data")
        if ".parquet/" in name
    ]
    return b"\n".join([*rows, everything(store)])


def test_pointers_that_were_moved_on_both_sides_are_a_conflict(store: Objects, tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.train("v1")
    push(one.workspace, store)
    pull(other.workspace, store)
    one.train("v2")
    other.train("v3")
    push(one.workspace, store)
    pushed = push(other.workspace, store)
    error = torn_error(store.url, pushed.torn)
    assert isinstance(error, ModelConflictError)
    assert f"pull {store.url} --theirs; then promote again" in str(error)
    assert pull(other.workspace, store).torn
    assert other.registry.pointers().stable == "v3"
    pull(other.workspace, store, theirs=True)
    assert other.registry.pointers().stable == "v2"
    pull(one.workspace, store)
    assert one.registry.path("v3").is_dir()  # the model was sent nevertheless
    other.registry.promote("v3")
    assert push(other.workspace, store).torn == {}
    pull(one.workspace, store)
    assert one.registry.pointers() == other.registry.pointers()
