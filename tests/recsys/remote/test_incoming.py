import os
from pathlib import Path

import pytest

from recsys import fault_point
from recsys.errors import DataError
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.pull import pull
from recsys.remote.push import push
from recsys.table_sweep import remove_scratch
from tests.recsys.remote.shops import Shop


@pytest.mark.parametrize("point", ["remote-downloaded:1", "remote-fetched:1", "remote-placed:1"])
def test_a_pull_under_which_somebody_is_erased_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")
    objects = DirectoryObjects("file:///store", tmp_path / "store")
    one.buy("a", ("e1", "ann"))
    one.offer("hat")
    one.train("v1")
    push(one.workspace, objects)
    monkeypatch.setattr(os, "_exit", lambda _code: remove_scratch(other.workspace))
    fault_point.arm(point)
    try:
        pull(other.workspace, objects)
    finally:
        fault_point.arm("")
    assert other.bought() == {"e1"}
    assert other.items() == {"hat"}
    assert other.registry.pointers().stable == "v1"


def test_a_pull_from_which_all_is_taken_again_and_again_says_what_to_do(tmp_path: Path) -> None:
    one, other = Shop(tmp_path / "one"), Shop(tmp_path / "other")

    class Erasing(DirectoryObjects):
        def download(self, name: str, path: Path) -> None:
            super().download(name, path)
            remove_scratch(other.workspace)

    objects = Erasing("file:///store", tmp_path / "store")
    one.buy("a", ("e1", "ann"))
    push(one.workspace, objects)
    with pytest.raises(DataError, match=r"somebody was erased meanwhile.*run it again"):
        pull(other.workspace, objects)
