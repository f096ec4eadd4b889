"""Ends a push or a pull at every step, and looks at what is left; tests.distributed does it to processes."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from recsys import fault_point
from recsys.damaged_files import DamagedFiles
from recsys.manifest import read_manifest, verify_files
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.pull import pull
from recsys.remote.push import push
from tests.recsys.remote.shops import Shop

BEFORE, AFTER = {"e1", "e2", "e3"}, {"e2", "e3", "e4"}
"""Events before and after ann was erased and somebody bought something."""
NUMBER = int(os.environ.get("RECSYS_TEST_KILLS", "1"))
"""How many times each step is the last one; beyond 50 of them there are none."""


class KilledError(BaseException):
    pass


def kill(_code: int) -> None:
    raise KilledError


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop before and after a day, with a store that it was pushed to before."""
    root = tmp_path_factory.mktemp("states")
    shop = Shop(root / "before")
    shop.buy("a", ("e1", "ann"), ("e2", "bob"))
    shop.buy("b", ("e3", "bob"))
    shop.offer("hat")
    shop.train("v1")
    push(shop.workspace, store(root))
    shutil.copytree(root / "before", root / "after")
    shop = Shop(root / "after")
    shop.buy("c", ("e4", "cid"))
    shop.erase("ann")
    shop.offer("hat", "scarf")
    shop.train("v2")
    shutil.copytree(root / "store", root / "newer")
    push(Shop(shutil.copytree(root / "after", root / "pusher")).workspace, store(root, "newer"))
    return root


def store(root: Path, name: str = "store") -> DirectoryObjects:
    return DirectoryObjects("file:///somewhere", root / name)


def each_kill(points: tuple[str, ...], run: Callable[[], object]) -> Iterator[str]:
    """Run something again and again, and end it at a step in turn; after each end, the step's name."""
    for point in points:
        for number in range(1, NUMBER + 1):
            fault_point.arm(f"{point}:{number}")
            try:
                run()
            except KilledError:
                fault_point.arm("")
                yield f"{point}:{number}"
            else:
                assert number > 1, f"nothing comes to {point}"
                break
            finally:
                fault_point.arm("")


def assert_sound(shop: Shop, where: str) -> None:
    """Every append is the old one or the new one, and whole; so is the model that serves."""
    assert DamagedFiles(shop.log.path).find() == [], where
    for version in shop.registry.pointers().targets().values():
        verify_files(shop.registry.path(version), read_manifest(shop.registry.path(version)))


def test_a_push_that_is_killed_anywhere_is_seen_whole_or_not_at_all(
    states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", kill)
    number = count()

    def begin() -> tuple[Shop, DirectoryObjects]:
        here = tmp_path / str(next(number))
        shutil.copytree(states / "store", here / "store")
        return Shop(shutil.copytree(states / "after", here / "shop")), store(here)

    running: list[tuple[Shop, DirectoryObjects]] = []

    def run() -> None:
        running[:] = [begin()]
        push(running[0][0].workspace, running[0][1])

    points = ("remote-uploaded", "remote-sent", "remote-published", "remote-removed")
    for where in each_kill(points, run):
        shop, objects = running[0]
        reader = Shop(tmp_path / f"{next(number)}")
        pull(reader.workspace, objects)
        is_new = where.startswith(("remote-published", "remote-removed"))
        assert reader.bought() == (AFTER if is_new else BEFORE), where
        assert reader.items() == ({"hat", "scarf"} if is_new else {"hat"})
        assert reader.registry.pointers().stable == ("v2" if is_new else "v1")
        assert_sound(reader, where)
        push(shop.workspace, objects)
        pull(reader.workspace, objects)
        assert reader.bought() == AFTER
        assert reader.registry.pointers().stable == "v2"
        push(shop.workspace, objects, unfinished=timedelta())  # what the killed one sent goes when it is old
        appended = {name.rpartition("/")[0] for name in objects.list("data/events")}
        assert len(objects.list("data/events")) == len(appended), where  # what held ann is gone


def test_a_pull_that_is_killed_anywhere_leaves_what_can_be_read_and_ends_when_repeated(
    states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", kill)
    number = count()
    running: list[Shop] = []

    def run() -> None:
        running[:] = [Shop(shutil.copytree(states / "before", tmp_path / str(next(number))))]
        pull(running[0].workspace, store(states, "newer"))

    points = (
        "remote-people", "remote-downloaded", "remote-fetched", "log-moved", "log-written", "log-committed",
        "remote-placed", "atomic-written",
    )  # fmt: skip
    for where in each_kill(points, run):
        shop = running[0]
        assert_sound(shop, where)
        allowed = AFTER if where != "atomic-written:1" else BEFORE  # the key: nobody is known before it
        assert {"e2", "e3"} <= shop.bought() <= allowed, where
        pull(shop.workspace, store(states, "newer"))
        assert shop.bought() == AFTER, where
        assert shop.items() == {"hat", "scarf"}
        assert shop.registry.pointers().stable == "v2"
        assert push(shop.workspace, store(states, "newer")).num_units == 0
        assert not (shop.workspace.root / ".remote" / "incoming").exists()
