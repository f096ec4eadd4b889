import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.bundle import Bundle
from recsys.errors import BundleError, DataError, LeakageError
from recsys.ranker import Ranker
from recsys.schema import EVENT_TIME, USER_ID
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT, CUT_MS, GROUP_SIZE, ingest_shop
from training.evaluation import evaluate
from training.window_lists import EXPLAINED_USERS

WEEK_MS = 7 * 86_400_000


@pytest.fixture(scope="module")
def report(later: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    directory = tmp_path_factory.mktemp("report")
    result = evaluate(later, json_path=directory / "r.json", html_path=directory / "r.html", dataset="tiny")
    assert json.loads((directory / "r.json").read_text()) == result.report
    assert "<html" in (directory / "r.html").read_text()
    return result.report


def test_everybody_who_came_back_is_a_test_user(report: Mapping[str, Any], trained: Trained) -> None:
    assert report["dataset"] == "tiny"
    assert report["model_version"] == trained.version
    assert report["num_users"] == trained.shop.future[USER_ID].n_unique()
    assert report["split"]["train_until"] == report["split"]["test_from"]
    assert report["split"]["test_from"] < f"{CUT:%Y-%m-%dT%H:%M:%SZ}" < report["split"]["test_to"]


def test_the_shop_is_solved_and_the_baselines_fall_behind_where_they_must(report: Mapping[str, Any]) -> None:
    def ndcg(block: Mapping[str, Any]) -> float:
        return float(block["ndcg@10"]["value"])

    assert ndcg(report["metrics"]) > 0.99
    assert ndcg(report["slices"]["novel"]) > 0.95
    assert ndcg(report["baselines"]["popular"]) < 0.5
    assert ndcg(report["baselines"]["popular"]["novel"]) < 0.5
    assert ndcg(report["baselines"]["personal_frequency"]["novel"]) < 0.5


def test_the_slices_are_of_the_users_they_name(report: Mapping[str, Any], trained: Trained) -> None:
    slices = report["slices"]
    assert slices["novel"]["num_users"] == len(trained.shop.withheld)
    assert slices["warm_items"]["num_users"] == report["num_users"]
    thirds = [slices[name]["num_users"] for name in ("light_users", "medium_users", "heavy_users")]
    assert sum(thirds) == report["num_users"]
    assert max(thirds) - min(thirds) <= 1
    assert slices["cold_items"] == {"num_users": 0}
    assert slices["new_users"] == {"num_users": 0}


def test_every_item_of_the_test_window_was_a_candidate(report: Mapping[str, Any]) -> None:
    recall = report["candidates"]["recall@500"]
    assert recall["merged"]["value"] == 1.0
    assert recall["by_source"]["text"]["value"] == 1.0
    # own history lacks the withheld item alone, and only of the users who have one: a quarter
    assert recall["by_source"]["own"]["value"] == pytest.approx(0.25 * (GROUP_SIZE - 1) / GROUP_SIZE + 0.75)


def test_fine_tuning_is_compared_with_the_frozen_text(report: Mapping[str, Any]) -> None:
    assert {"tuned_text", "frozen_text"} <= report["ablations"].keys()


def test_what_moves_the_scores_and_how_far_they_are_probabilities_is_told(report: Mapping[str, Any]) -> None:
    assert report["shap"].keys() == report["feature_gain"].keys() == {"all", "new"}
    for name, parts in report["shap"].items():
        assert parts.keys() == report["feature_gain"][name].keys()
        assert max(parts.values()) > 0
        assert all(parts[feature] == 0 for feature, gain in report["feature_gain"][name].items() if not gain)
    assert 0 <= report["calibration"]["expected_calibration_error"] < 0.5
    assert all(0 <= part["observed"] <= 1 for part in report["calibration"]["bins"])


def test_the_baselines_that_cost_nothing_are_watched_on_every_slice(report: Mapping[str, Any]) -> None:
    assert report["never_below"]["ok"] is True
    assert report["where_we_lose"] == []
    checked = {(row["slice"], row["baseline"]) for row in report["never_below"]["checked"]}
    assert {("all", "popular"), ("novel", "popular"), ("heavy_users", "personal_frequency")} <= checked


@pytest.mark.usefixtures("without_charts")
def test_what_happens_after_the_test_window_changes_nothing(
    later: Workspace, trained: Trained, tmp_path: Path
) -> None:
    shorter = trained.shop.future.filter(pl.col(EVENT_TIME) < CUT + timedelta(days=7))
    events = pl.concat([trained.shop.history, shorter])
    cut_off = ingest_shop(tmp_path, trained.shop.items, events)
    cut_off.registry.symlink_to(trained.workspace.registry)
    page = tmp_path / "r.html"
    ours, theirs = (
        evaluate(workspace, test_from_ms=CUT_MS, test_to_ms=CUT_MS + WEEK_MS, html_path=page).report
        for workspace in (later, cut_off)
    )
    for part in ("num_users", "metrics", "slices", "baselines", "ablations", "candidates"):
        assert ours[part] == theirs[part]


def test_a_bundle_that_saw_the_test_window_is_refused(later: Workspace) -> None:
    with pytest.raises(LeakageError, match="until"):
        evaluate(later, test_from_ms=CUT_MS - WEEK_MS)


def test_a_log_that_ends_with_the_bundles_data_leaves_nothing_to_test(trained: Trained) -> None:
    with pytest.raises(DataError, match="--until"):
        evaluate(trained.workspace)


def test_a_window_in_which_nobody_chose_anything_is_named(later: Workspace) -> None:
    with pytest.raises(DataError, match="from 2030-01-01T00:00:00Z"):
        evaluate(later, test_from_ms=1_893_456_000_000)


def test_a_version_that_does_not_exist_is_an_error(later: Workspace) -> None:
    with pytest.raises(BundleError):
        evaluate(later, version="v0")


@pytest.mark.usefixtures("without_charts")
def test_a_user_who_was_never_seen_is_one_of_the_new_users(trained: Trained, tmp_path: Path) -> None:
    newcomer = trained.shop.future.head(1).with_columns(pl.lit("newcomer").alias(USER_ID))
    events = pl.concat([trained.shop.history, newcomer])
    workspace = ingest_shop(tmp_path, trained.shop.items, events)
    workspace.registry.symlink_to(trained.workspace.registry)
    found = evaluate(workspace, html_path=tmp_path / "r.html", baseline_names=("popular",)).report
    assert found["num_users"] == found["slices"]["new_users"]["num_users"] == 1


@pytest.mark.usefixtures("without_charts")
def test_novel_lists_come_from_the_ranker_for_what_is_new(
    later: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    unchanged = Bundle.ranker

    def noted(bundle: Bundle, orders: str) -> Ranker:
        asked.append(orders)
        return unchanged(bundle, orders)

    monkeypatch.setattr(Bundle, "ranker", noted)
    found = evaluate(later, html_path=tmp_path / "r.html", baseline_names=("popular",)).report
    every, users = -(-found["num_users"] // EXPLAINED_USERS), found["num_users"]
    assert asked.count("new") == users
    assert asked.count("all") == users + len(range(0, users, every))


@pytest.mark.usefixtures("without_charts")
def test_a_version_and_baselines_can_be_named_which_are_compared_with_their_settings(
    later: Workspace, trained: Trained, tmp_path: Path
) -> None:
    named, page = ("popular", "tifu_knn"), tmp_path / "r.html"
    found = evaluate(later, version=trained.version, html_path=page, baseline_names=named)
    report = found.report
    assert report["model_version"] == trained.version
    assert found.html_path == page
    assert list(report["baselines"]) == ["popular", "tifu_knn"]
    assert report["baselines"]["tifu_knn"]["novel"]["ndcg@10"]["value"] > 0.9
    assert report["baselines"]["tifu_knn"]["settings"]["all"].keys() == {
        "decay_per_week",
        "num_neighbours",
        "alpha",
    }
