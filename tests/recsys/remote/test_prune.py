import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recsys.errors import ObjectStoreError
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.head import read_head
from recsys.remote.prune import Pruned, prune
from recsys.remote.pull import pull
from recsys.remote.push import push
from tests.recsys.remote.shops import Shop, everything

_DAY = timedelta(days=1)


def store(root: Path) -> DirectoryObjects:
    return DirectoryObjects("file:///store", root / "store")


def pushed(root: Path, *versions: str) -> Shop:
    """A shop with models that were promoted one after the other; the last one was pushed two days ago."""
    shop = Shop(root / "one")
    for version in versions:
        shop.train(version)
    push(shop.workspace, store(root))
    for age, version in zip(range(len(versions) + 1, 1, -1), versions, strict=True):
        for path in (root / "store" / "data/registry/bundles" / version).rglob("*/*"):
            os.utime(path, (time.time() - age * 86_400 + 3600,) * 2)
    return shop


def pruning(root: Path, *, keep: int = 1, days: int = 1, is_meant: bool = True) -> list[str]:
    found = prune(store(root), keep=keep, min_age=days * _DAY, is_meant=is_meant)
    return [model.version for model in found.models]


class Meeting(DirectoryObjects):
    """A store in which something happens once, before a head is published or a file is read."""

    def __init__(self, root: Path, happens: Callable[[], object]) -> None:
        super().__init__("file:///store", root / "store")
        self._happens = [happens]

    def create(self, name: str, content: bytes) -> bool:
        if name.endswith(".gz") and self._happens:
            self._happens.pop()()
        return super().create(name, content)

    def download(self, name: str, path: Path) -> None:
        if self._happens:
            self._happens.pop()()
        super().download(name, path)


def test_old_models_go_and_those_that_pointers_name_and_the_newest_stay(tmp_path: Path) -> None:
    shop = pushed(tmp_path, "v1", "v2", "v3", "v4")
    shop.registry.promote("v1")  # and v4 is the previous one
    shop.train("v5", promote=False)
    push(shop.workspace, store(tmp_path))
    before = everything(store(tmp_path))
    told = prune(store(tmp_path), keep=1, min_age=_DAY, is_meant=False)
    assert everything(store(tmp_path)) == before
    done = prune(store(tmp_path), keep=1, min_age=_DAY, is_meant=True)
    assert done == Pruned(told.number + 1, told.models, 3)
    assert [model.version for model in done.models] == ["v2", "v3"]
    assert all(model.num_bytes > 0 for model in done.models)
    assert store(tmp_path).list("data").keys() == read_head(store(tmp_path)).objects()
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, store(tmp_path))
    assert {entry.version for entry in reader.registry.entries()} == {"v1", "v4", "v5"}


def test_it_is_bounded_by_number_and_by_age(tmp_path: Path) -> None:
    pushed(tmp_path, "v1", "v2", "v3", "v4")  # v3 is the previous one
    bounds: dict[tuple[int, int], list[str]] = {(1, 1): ["v1", "v2"], (3, 1): ["v1"], (1, 4): ["v1"]}
    for keep, days in [*bounds, (4, 1), (9, 1), (1, 9)]:
        assert pruning(tmp_path, keep=keep, days=days, is_meant=False) == bounds.get((keep, days), [])


def test_what_was_pushed_within_a_day_cannot_be_asked_for(tmp_path: Path) -> None:
    for keep, age in ((0, _DAY), (1, timedelta(hours=23))):
        with pytest.raises(ValueError, match="1 or more and an age of 1 day"):
            prune(store(tmp_path), keep=keep, min_age=age, is_meant=True)
    with pytest.raises(ObjectStoreError, match="nothing was pushed to file:///store yet"):
        pruning(tmp_path)


def test_a_model_that_an_experiment_names_stays(tmp_path: Path) -> None:
    shop = pushed(tmp_path, "v1", "v2", "v3", "v4")
    definition = shop.workspace.registry / "experiments" / "new-model" / "1.toml"
    definition.parent.mkdir(parents=True)
    definition.write_text('[[arms]]\nkey = "new"\nmodel = "v1"\n', encoding="utf-8")
    push(shop.workspace, store(tmp_path))
    assert pruning(tmp_path) == ["v2"]


def test_a_machine_that_has_what_was_pruned_keeps_it_and_sends_it_only_to_let_it_serve(
    tmp_path: Path,
) -> None:
    shop = pushed(tmp_path, "v1", "v2", "v3", "v4")
    assert pruning(tmp_path) == ["v1", "v2"]
    assert push(shop.workspace, store(tmp_path)).num_units == 0
    pull(shop.workspace, store(tmp_path))
    shop.registry.promote("v1")
    assert push(shop.workspace, store(tmp_path)).num_units == 2
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, store(tmp_path), parts=["models"], pointed=True)
    assert reader.registry.pointers().stable == "v1"
    elsewhere = DirectoryObjects("file:///elsewhere", tmp_path / "elsewhere")
    push(shop.workspace, elsewhere)
    assert "bundle/v2" in read_head(elsewhere).units


def test_a_model_that_is_promoted_while_it_is_pruned_stays(tmp_path: Path) -> None:
    shop = pushed(tmp_path, "v1", "v2", "v3", "v4")

    def promote() -> None:
        shop.registry.promote("v1")
        push(shop.workspace, store(tmp_path))

    found = prune(Meeting(tmp_path, promote), keep=1, min_age=_DAY, is_meant=True)
    assert [model.version for model in found.models] == ["v2", "v3"]
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, store(tmp_path))
    assert reader.registry.pointers().stable == "v1"


def test_a_model_that_is_pruned_while_it_is_promoted_is_sent_again(tmp_path: Path) -> None:
    shop = pushed(tmp_path, "v1", "v2", "v3", "v4")
    shop.registry.promote("v1")
    push(shop.workspace, Meeting(tmp_path, lambda: pruning(tmp_path)))
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, store(tmp_path))
    assert reader.registry.pointers().stable == "v1"


def test_a_pull_that_meets_a_pruning_brings_what_is_left(tmp_path: Path) -> None:
    pushed(tmp_path, "v1", "v2", "v3", "v4")
    reader = Shop(tmp_path / "reader")
    pull(reader.workspace, Meeting(tmp_path, lambda: pruning(tmp_path)))
    assert {entry.version for entry in reader.registry.entries()} == {"v3", "v4"}
