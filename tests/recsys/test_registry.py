from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.errors import BundleError
from recsys.registry import Pointers, Registry
from tests.recsys.test_manifest import write_small_bundle


def add(registry: Registry, version: str, day: int) -> None:
    write_small_bundle(registry.path(version), created=datetime(2024, 5, day, tzinfo=UTC))


def damage_pointers(registry: Registry, content: str) -> None:
    registry.root.mkdir(exist_ok=True)
    (registry.root / "pointers.json").write_text(content, encoding="utf-8")


def test_a_new_registry_is_empty_and_serves_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "not-there")
    assert registry.entries() == []
    assert registry.pointers() == Pointers()
    with pytest.raises(BundleError, match="run: recsys train"):
        registry.stable()


def test_the_promoted_version_serves_and_the_one_before_is_remembered(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    add(registry, "a", 1)
    add(registry, "b", 2)
    registry.promote("a")
    assert registry.pointers() == Pointers(stable="a")
    registry.promote("b")
    assert registry.pointers() == Pointers(stable="b", previous="a")
    assert registry.stable() == tmp_path / "bundles" / "b"
    assert [path.name for path in tmp_path.glob("[!.]*") if path.is_file()] == ["pointers.json"]


def test_a_version_that_is_not_there_or_damaged_is_not_promoted(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    add(registry, "a", 1)
    add(registry, "b", 2)
    registry.promote("a")
    (registry.path("b") / "manifest.json").write_text("{")
    for version in ("b", "c"):
        with pytest.raises(BundleError, match=f"'{version}'"):
            registry.promote(version)
    assert registry.pointers() == Pointers(stable="a")


@pytest.mark.parametrize("version", ["", "..", "../a", "a/b", "A", ".a", "a" * 65])
def test_a_version_cannot_lead_out_of_the_registry(tmp_path: Path, version: str) -> None:
    with pytest.raises(BundleError, match="1 to 64 of"):
        Registry(tmp_path).path(version)


@pytest.mark.parametrize("content", ["", "[]", '{"stable": 1}', '{"stabel": "a"}'])
def test_damaged_pointers_are_an_error_that_says_so(tmp_path: Path, content: str) -> None:
    registry = Registry(tmp_path)
    damage_pointers(registry, content)
    for ask in (registry.pointers, registry.stable, registry.entries):
        with pytest.raises(BundleError, match=r"pointers.json of the registry is damaged"):
            ask()


def test_entries_come_oldest_first_with_their_pointers_and_sizes(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    add(registry, "a", 2)
    add(registry, "b", 1)
    registry.promote("b")
    registry.promote("a")
    (tmp_path / "bundles" / ".half-written").mkdir()
    b, a = registry.entries()
    assert (b.version, b.pointers, b.damage) == ("b", ("previous",), None)
    assert (a.version, a.pointers, a.damage) == ("a", ("stable",), None)
    assert a.manifest is not None
    assert a.manifest.version == "a"
    assert a.size_bytes == 5 + 5 + (registry.path("a") / "manifest.json").stat().st_size


def test_one_version_may_have_several_pointers(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    add(registry, "a", 1)
    damage_pointers(registry, '{"stable": "a", "shadow": "a"}')
    assert registry.entries()[0].pointers == ("stable", "shadow")


def test_damaged_versions_come_last_with_the_reason(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for day, version in enumerate(("a", "b", "c"), start=1):
        add(registry, version, day)
    (registry.path("a") / "manifest.json").write_text("{}")
    (registry.path("b") / "manifest.json").unlink()
    damage_pointers(registry, '{"stable": "gone"}')
    write_small_bundle(tmp_path / "bundles" / "Not-A-Version")
    entries = {entry.version: entry for entry in registry.entries()}
    assert list(entries) == ["c", "Not-A-Version", "a", "b", "gone"]
    assert entries["c"].damage is None
    assert entries["Not-A-Version"].damage is not None
    assert "1 to 64 of" in entries["Not-A-Version"].damage
    assert entries["a"].damage is not None
    assert "cannot be read" in entries["a"].damage
    assert entries["b"].damage == "it has no manifest.json"
    assert entries["b"].size_bytes == 10
    assert (entries["gone"].damage, entries["gone"].size_bytes) == ("it has no manifest.json", 0)
    assert entries["gone"].pointers == ("stable",)
