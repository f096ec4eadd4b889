import json
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from recsys.cli import run
from recsys.registry import Registry
from recsys.workspace import Workspace
from tests.recsys.test_manifest import write_small_bundle

VERBS = [EntryPoint("models", "recsys.commands:models", "recsys.commands")]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two sound models, the later one serves."""
    found = Workspace(tmp_path)
    registry = Registry(found.registry)
    may = datetime(2024, 5, 2, 8, 30, tzinfo=UTC)
    write_small_bundle(
        registry.path("first"), created=may, metrics={"ranker_validation_ndcg@10": 0.12345, "loss": 2.0}
    )
    write_small_bundle(registry.path("second"), created=may.replace(month=6), parent="first")
    registry.promote("first")
    registry.promote("second")
    return found


def listed(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert run(["models", "list", "--workspace", str(workspace.root), "--json"], VERBS) == 0
    document: dict[str, list[dict[str, Any]]] = json.loads(capsys.readouterr().out)
    assert document.keys() == {"models"}
    return document["models"]


def test_models_are_listed_as_json(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = listed(workspace, capsys)
    manifest = workspace.registry / "bundles" / "first" / "manifest.json"
    assert first == {
        "version": "first",
        "pointers": ["previous"],
        "created_time": "2024-05-02T08:30:00Z",
        "fitted_until": "2024-05-01T00:00:00Z",
        "metrics": {"ranker_validation_ndcg@10": 0.12345, "loss": 2.0},
        "parent_version": None,
        "size_bytes": 10 + manifest.stat().st_size,
        "damage": None,
        "last_decision": None,
    }
    assert (second["version"], second["pointers"], second["parent_version"]) == (
        "second",
        ["stable"],
        "first",
    )


def test_models_are_listed_as_a_table(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["models", "list", "--workspace", str(workspace.root)], VERBS) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "first" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:5] == ["first", "previous", "2024-05-02 08:30", "2024-05-01 00:00", "0.1235"]
    assert cells[5].endswith("kB")
    assert any("second" in line and "stable" in line for line in lines)


def test_an_empty_registry_says_how_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", "--workspace", str(tmp_path)], VERBS) == 0
    assert f"run: recsys train --workspace {tmp_path}" in capsys.readouterr().out
    assert listed(Workspace(tmp_path), capsys) == []


def test_a_damaged_manifest_is_listed_with_the_reason(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.registry / "bundles" / "first" / "manifest.json").write_text("{}")
    second, first = listed(workspace, capsys)
    assert second["damage"] is None
    assert "cannot be read" in first["damage"]
    assert (first["metrics"], first["created_time"], first["size_bytes"]) == (None, None, 12)
    monkeypatch.setenv("COLUMNS", "160")
    assert run(["models", "list", "--workspace", str(workspace.root)], VERBS) == 0
    assert "first is damaged: the manifest of bundle 'first' cannot be read" in capsys.readouterr().out


def test_damaged_pointers_are_one_clear_line(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.registry / "pointers.json").write_text("{")
    assert run(["models", "list", "--workspace", str(workspace.root)], VERBS) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: pointers.json of the registry is damaged")


def test_a_model_is_promoted_and_rolled_back(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace.root)]
    assert run(["models", "promote", "first", *where], VERBS) == 0
    assert listed_last(workspace, capsys, "first") == "promoted"
    assert run(["models", "rollback", *where], VERBS) == 0
    assert listed_last(workspace, capsys, "second") == "rolled back"
    assert run(["models", "promote", "first", "--if", "quality", *where], VERBS) == 1
    assert "recsys evaluate" in capsys.readouterr().out
    assert run(["models", "promote", "first", "--if", "beauty", *where], VERBS) == 2
    assert run(["models", "verify", "first", *where], VERBS) == 1
    assert run(["models", "promote", "first", "--canary", "5", *where], VERBS) == 0
    assert Registry(workspace.registry).pointers().canary_percent == 5.0


def listed_last(workspace: Workspace, capsys: pytest.CaptureFixture[str], version: str) -> object:
    capsys.readouterr()
    [found] = [model for model in listed(workspace, capsys) if model["version"] == version]
    return found["last_decision"]["verdict"]


def test_a_model_is_signed_and_one_with_another_key_does_not_verify(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("key", "other"):
        (tmp_path / name).write_text(name * 20)
    where = ["--workspace", str(workspace.root)]
    assert run(["models", "sign", "first", "--key", str(tmp_path / "key"), *where], VERBS) == 0
    assert capsys.readouterr().out == "first is signed\n"
    assert run(["models", "verify", "first", "--key", str(tmp_path / "other"), *where], VERBS) == 1
    assert "signed with another key" in capsys.readouterr().out
