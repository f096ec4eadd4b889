"""Tests of gates and of the record of decisions; the bundles hold no model, so parity is tested elsewhere."""

import json
from pathlib import Path

import pytest

from recsys.errors import UnknownModelError
from recsys.promotion import decisions, promote, roll_back
from recsys.registry import Pointers, Registry
from recsys.workspace import Workspace
from tests.recsys.test_manifest import write_small_bundle


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path)
    registry = Registry(found.registry)
    for version in ("old", "new"):
        write_small_bundle(registry.path(version))
    registry.promote("old")
    found.reports.mkdir()
    return found


def report(
    workspace: Workspace, version: str, ndcg: float, novel: float, test_to: str = "2024-06-01"
) -> None:
    def metric(value: float) -> dict[str, dict[str, float]]:
        return {"ndcg@10": {"value": value, "low": value - 0.01, "high": value + 0.01}}

    document = {
        "dataset": "shop",
        "model_version": version,
        "num_users": 100,
        "split": {"test_from": "2024-05-01", "test_to": test_to},
        "metrics": metric(ndcg),
        "slices": {"novel": {"num_users": 90, **metric(novel)}, "new_users": {"num_users": 0}},
    }
    (workspace.reports / f"{version}.json").write_text(json.dumps(document), encoding="utf-8")


def test_a_model_that_is_not_significantly_worse_is_promoted(workspace: Workspace) -> None:
    report(workspace, "old", 0.42, 0.05)
    report(workspace, "new", 0.41, 0.05)
    decided = promote(workspace, "new", ["quality", "slices"])
    assert (decided.verdict, decided.reasons, decided.previous_version) == ("promoted", (), "old")
    assert Registry(workspace.registry).pointers() == Pointers(stable="new", previous="old")
    low, high = decided.gates[0].figures["ndcg@10"]["low"], decided.gates[0].figures["ndcg@10"]["high"]
    assert (low, high) == pytest.approx((-0.01 - 0.02 / 2**0.5, -0.01 + 0.02 / 2**0.5))


def test_a_model_that_is_worse_is_refused_by_the_gate_that_sees_it(workspace: Workspace) -> None:
    report(workspace, "old", 0.42, 0.05)
    report(workspace, "new", 0.42, 0.03)
    assert promote(workspace, "new", ["quality"], part="shadow").verdict == "promoted"
    refused = promote(workspace, "new", ["quality", "slices"])
    assert refused.verdict == "refused"
    assert [gate.passed for gate in refused.gates] == [True, False]
    assert "on novel" in refused.reasons[0]
    report(workspace, "new", 0.40, 0.05)
    assert not promote(workspace, "new", ["quality"]).gates[0].passed
    assert Registry(workspace.registry).pointers() == Pointers(stable="old", shadow="new")


def test_without_reports_on_the_same_window_quality_is_refused(workspace: Workspace) -> None:
    report(workspace, "old", 0.42, 0.05)
    [reason] = promote(workspace, "new", ["quality"]).reasons
    assert "recsys evaluate --version new" in reason
    report(workspace, "new", 0.5, 0.05, test_to="2024-07-01")
    [reason] = promote(workspace, "new", ["quality"]).reasons
    assert "different test windows" in reason


def test_a_failed_parity_proof_and_a_damaged_bundle_are_refused(workspace: Workspace) -> None:
    (Registry(workspace.registry).path("new") / "ranker.txt").write_bytes(b"other")
    [reason] = promote(workspace, "new", ["parity"]).reasons
    assert "ranker.txt does not match" in reason


def test_every_decision_is_kept(workspace: Workspace) -> None:
    registry = Registry(workspace.registry)
    promote(workspace, "new", ["quality"])
    promote(workspace, "new", [])
    roll_back(workspace)
    assert registry.pointers() == Pointers(stable="old", previous="new")
    assert [made["verdict"] for made in decisions(registry, "new")] == ["refused", "promoted"]
    [last] = decisions(registry, "old")
    assert (last["verdict"], last["who"], last["previous_version"]) == (
        "rolled back",
        "recsys models rollback",
        "new",
    )


def test_an_unknown_model_is_not_promoted(workspace: Workspace) -> None:
    with pytest.raises(UnknownModelError):
        promote(workspace, "newer", [])


def test_a_canary_keeps_its_share_until_it_goes_or_serves(workspace: Workspace) -> None:
    registry = Registry(workspace.registry)
    promote(workspace, "new", [], part="canary", canary_percent=5.0)
    assert registry.pointers() == Pointers(stable="old", canary="new", canary_percent=5.0)
    registry.promote("new")
    assert registry.pointers() == Pointers(stable="new", previous="old")
