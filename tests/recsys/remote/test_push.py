import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recsys.errors import ObjectStoreError
from recsys.log_shards import reshard
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.head import Head, publish_head, read_head
from recsys.remote.objects import Stored
from recsys.remote.pull import pull
from recsys.remote.push import push
from tests.recsys.remote.shops import Shop, everything


class Meeting(DirectoryObjects):
    """A store in which another machine is faster, once."""

    def __init__(self, root: Path, other: Shop) -> None:
        super().__init__("file:///store", root)
        self._root_of_other, self._other = root, [other]

    def create(self, name: str, content: bytes) -> bool:
        if name.endswith(".gz") and self._other:
            push(self._other.pop().workspace, DirectoryObjects("file:///store", self._root_of_other))
        return super().create(name, content)


class Pausing(DirectoryObjects):
    """A store in which something happens once after its data was listed, or before a head is published."""

    def __init__(
        self, root: Path, *, listed: Callable[[], object] = int, publishing: Callable[[], object] = int
    ) -> None:
        super().__init__("file:///store", root)
        self._listed, self._publishing = [listed], [publishing]

    def list(self, prefix: str) -> dict[str, Stored]:
        found = super().list(prefix)
        if prefix == "data" and self._listed:
            self._listed.pop()()
        return found

    def create(self, name: str, content: bytes) -> bool:
        if name.endswith(".gz") and self._publishing:
            self._publishing.pop()()
        return super().create(name, content)


class KilledError(BaseException):
    pass


def kill() -> None:
    raise KilledError


def make_old(objects: DirectoryObjects, root: Path) -> None:
    """Let what lies in a store have been written long ago."""
    for name in objects.list("data"):
        os.utime(root / name, (time.time() - 90_000,) * 2)


def test_of_two_pushes_at_once_both_come_to_be(tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann"))
    other.buy("b", ("e2", "bob"))
    objects = Meeting(tmp_path / "store", other)
    assert push(one.workspace, objects).number == 2
    pull(other.workspace, objects)
    assert other.bought() == {"e1", "e2"}
    one.erase("bob")
    other.buy("c", ("e3", "bob"))
    push(one.workspace, Meeting(tmp_path / "store", other))
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, objects)
    assert reader.bought() == {"e1"}


def test_a_head_that_is_published_late_counts_for_nobody(tmp_path: Path) -> None:
    objects = DirectoryObjects("file:///store", tmp_path)
    for number in (1, 2, 3):
        assert publish_head(objects, Head(number=number))
    objects.remove(["head/000000000002.json.gz"])
    assert not publish_head(objects, Head(number=2))
    assert not publish_head(objects, Head(number=3))
    assert read_head(objects).number == 3


def test_a_store_that_overwrites_what_is_to_be_created_once_is_refused(tmp_path: Path) -> None:
    class Careless(DirectoryObjects):
        def create(self, name: str, content: bytes) -> bool:
            self.remove([name])
            return super().create(name, content)

    with pytest.raises(ObjectStoreError, match="If-None-Match"):
        push(Shop(tmp_path / "one").workspace, Careless("file:///store", tmp_path / "store"))


def test_what_a_killed_push_left_is_removed_after_a_while(tmp_path: Path) -> None:
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    left = tmp_path / "store" / "data" / "events" / "left"
    left.parent.mkdir(parents=True)
    left.write_text("ann")
    one = Shop(tmp_path / "one")
    one.buy("a", ("e1", "bob"))
    assert push(one.workspace, objects).num_removed == 0
    assert push(one.workspace, objects, unfinished=timedelta()).num_removed == 1
    assert b"ann" not in everything(objects)
    assert len(objects.list("head")) == 2  # and the probe


def test_a_model_that_does_not_verify_stays_here_and_so_do_pointers_to_it(tmp_path: Path) -> None:
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.train("v1")
    push(one.workspace, objects)
    one.train("v2")
    (one.registry.path("v2") / "ranker.txt").write_text("other")
    assert "does not verify" in push(one.workspace, objects).left_out["v2"]
    pull(other.workspace, objects)
    assert other.registry.pointers().stable == "v1"


def test_decisions_of_two_machines_are_all_kept(tmp_path: Path) -> None:
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    for shop, line in ((one, "one"), (other, "other")):
        path = shop.workspace.registry / "decisions" / "v1.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(f"first\n{line}\n", encoding="utf-8")
    push(one.workspace, objects)
    assert push(other.workspace, objects).torn == {}
    pull(one.workspace, objects)
    kept = (one.workspace.registry / "decisions" / "v1.jsonl").read_text(encoding="utf-8")
    assert kept.split() == ["first", "one", "other"]


def test_what_a_killed_push_left_may_be_removed_while_it_is_pushed_again(tmp_path: Path) -> None:
    root = tmp_path / "store"
    objects = DirectoryObjects("file:///store", root)
    one, other, reader = (Shop(tmp_path / name) for name in ("one", "other", "reader"))
    one.buy("a", ("e1", "ann"))
    push(one.workspace, objects)
    pull(other.workspace, objects)
    one.buy("b", ("e2", "bob"))
    with pytest.raises(KilledError):
        push(one.workspace, Pausing(root, publishing=kill))
    make_old(objects, root)
    assert push(other.workspace, Pausing(root, listed=lambda: push(one.workspace, objects))).num_units == 0
    pull(reader.workspace, objects)
    assert reader.bought() == {"e1", "e2"}
    push(other.workspace, objects)
    assert len(objects.list("data")) == 4, "two appends of two files each"


def test_what_a_slow_push_sent_long_ago_stays_when_its_head_was_published_just_now(tmp_path: Path) -> None:
    root = tmp_path / "store"
    objects = DirectoryObjects("file:///store", root)
    one, other, reader = (Shop(tmp_path / name) for name in ("one", "other", "reader"))
    one.offer("hat")
    push(one.workspace, objects)
    pull(other.workspace, objects)
    one.buy("b", ("e2", "bob"))

    class Slow(DirectoryObjects):
        def create(self, name: str, content: bytes) -> bool:
            if not name.endswith(".gz"):
                return super().create(name, content)
            make_old(objects, root)
            made = []
            push(other.workspace, Pausing(root, listed=lambda: made.append(objects.create(name, content))))
            return made == [True]

    push(one.workspace, Slow("file:///store", root))
    pull(reader.workspace, objects)
    assert reader.bought() == {"e2"}


def test_what_a_push_sent_in_vain_goes_with_it(tmp_path: Path) -> None:
    root = tmp_path / "store"
    objects = DirectoryObjects("file:///store", root)
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    one.buy("a", ("e1", "ann-the-erased"), ("e2", "bob"))
    push(one.workspace, objects)
    pull(other.workspace, objects)
    reshard(other.log.path, 2)
    one.erase("ann-the-erased")
    push(other.workspace, Pausing(root, publishing=lambda: push(one.workspace, objects)))
    named = read_head(objects).objects()
    assert objects.list("data").keys() == named


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_what_the_store_lost_is_sent_again_by_a_machine_that_has_it(tmp_path: Path, damage: str) -> None:
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    one, other, reader = (Shop(tmp_path / name) for name in ("one", "other", "reader"))
    one.buy("a", ("e1", "ann"))
    one.train("v1")
    push(one.workspace, objects)
    pull(other.workspace, objects)
    lost = [*(tmp_path / "store").glob("data/events/day=*/a.parquet/*")]
    lost += (tmp_path / "store").glob("data/registry/bundles/v1/ranker.txt/*")
    for path in lost:
        path.unlink() if damage == "gone" else path.write_bytes(b"x")
    with pytest.raises(ObjectStoreError, match=r"push it again from a machine that has it"):
        pull(reader.workspace, objects)
    pushed = push(other.workspace, objects)
    assert (pushed.num_units, pushed.num_removed) == (2, 2 * (damage == "cut"))
    pull(reader.workspace, objects)
    assert reader.bought() == {"e1"}
    assert reader.registry.pointers().stable == "v1"
    assert pull(one.workspace, objects).num_units == 0
    assert push(one.workspace, objects).num_units == 0
