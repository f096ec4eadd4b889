"""Our metrics and the reference scorer that lies beside the checkout agree on the same lists."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.metrics import coverage, interval, paired_difference, per_user
from training.report import EvaluationInput, evaluate_lists

QUALITY = Path(__file__).resolve().parents[2].parent / "shared" / "quality"
METRICS = ("ndcg", "recall", "mrr", "hit")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not QUALITY.is_dir(), reason="no reference scorer in shared/quality beside the checkout"
    ),
]


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, QUALITY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The reference scorer; the two modules it consists of are forgotten afterwards."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    load("splits", monkeypatch)
    return load("score", monkeypatch)


def pairs(random: np.random.Generator, users: int, rows: int, first_item: int = 0) -> pl.DataFrame:
    drawn_users, drawn_items = random.integers(0, users, rows), random.integers(first_item, 60, rows)
    return pl.DataFrame(
        {"user_id": [f"u{user}" for user in drawn_users], "item_id": [f"i{item}" for item in drawn_items]}
    )


def some_lists(random: np.random.Generator) -> pl.DataFrame:
    """Lists with gaps, ties and repeats, for most users only, and some that nobody asked for."""
    frame = pairs(random, users=90, rows=1500)
    return frame.with_columns(rank=pl.Series(random.integers(1, 40, frame.height)))


def some_split(scorer: Any, random: np.random.Generator) -> Any:
    """80 users of whom some are new; items below i10 have no history."""
    truth = pairs(random, users=80, rows=900).unique().sort("user_id", "item_id")
    history = pairs(random, users=60, rows=900, first_item=10)
    known = history["user_id"].unique().to_list()
    kind = pl.when(pl.col("user_id").is_in(known)).then(pl.lit("known user")).otherwise(pl.lit("new user"))
    queries = truth.select("user_id").unique().sort("user_id").with_columns(cluster="user_id", slice=kind)
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(60)]})
    return sys.modules[scorer.load.__module__].Split("random", "topn", history, queries, truth, items)


@pytest.mark.parametrize("mode", ["all", "novel"])
@pytest.mark.parametrize("seed", range(3))
def test_point_values_agree(scorer: Any, mode: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    split, lists = some_split(scorer, random), some_lists(random)
    expected, rows = scorer.evaluate(split, lists, mode)
    truth = split.truth
    if mode == "novel":
        lists = lists.join(split.history, on=["user_id", "item_id"], how="anti")
        truth = truth.join(split.history, on=["user_id", "item_id"], how="anti")
    users = split.queries["user_id"]
    ours = per_user(lists, truth, users)
    assert ours["user_id"].to_list() == rows["user_id"].to_list()
    for metric in METRICS:
        np.testing.assert_allclose(ours[f"{metric}@10"], rows[metric], rtol=0, atol=1e-12)
    asked = lists.filter(pl.col("user_id").is_in(users.to_list()))
    assert coverage(asked, split.items.height) == pytest.approx(expected["coverage"], abs=1e-12)


def test_intervals_and_paired_differences_agree(scorer: Any) -> None:
    random = np.random.default_rng(11)
    split = some_split(scorer, random)
    results = []
    for lists in (some_lists(random), some_lists(random)):
        expected, rows = scorer.evaluate(split, lists, "all")
        ours = per_user(lists, split.truth, split.queries["user_id"])
        found = interval(ours, seed=0)
        for metric in METRICS:
            interval_ = found[f"{metric}@10"]
            assert (interval_.value, interval_.low, interval_.high) == pytest.approx(
                expected["total"][metric], abs=0.01
            )
        results.append((ours, rows))
    (ours, rows), (theirs, other) = results
    difference = paired_difference(ours, theirs, seed=0)["ndcg@10"].value
    assert difference == pytest.approx(float((rows["ndcg"] - other["ndcg"]).to_numpy().mean()), abs=1e-12)


def test_the_reports_slices_agree(scorer: Any) -> None:
    random = np.random.default_rng(7)
    split, lists = some_split(scorer, random), some_lists(random)
    seen = split.history.select("user_id", "item_id")
    report = evaluate_lists(
        EvaluationInput(
            dataset="random",
            train_until_ms=0,
            test_from_ms=0,
            test_to_ms=1,
            model_version="v1",
            lists=lists,
            novel_lists=lists.join(seen, on=["user_id", "item_id"], how="anti"),
            truth=split.truth,
            history_pairs=seen,
            warm_items=seen["item_id"],
            num_items=split.items.height,
        )
    )
    expected, _ = scorer.evaluate(split, lists, "all")
    novel, _ = scorer.evaluate(split, lists, "novel")
    slices = report["slices"]
    for ours, theirs in (
        (report["metrics"], expected["total"]),
        (slices["novel"], novel["total"]),
        (slices["cold_items"], expected["cold items"]),
        (slices["warm_items"], expected["warm items"]),
        (slices["new_users"], expected["new user"]),
    ):
        for metric in METRICS:
            assert ours[f"{metric}@10"]["value"] == pytest.approx(theirs[metric][0], abs=1e-12)
    assert slices["novel"]["coverage@10"]["value"] == pytest.approx(novel["coverage"], abs=1e-12)
