import base64
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from recsys.errors import DataError, LeakageError
from training.report import BaselineLists, EvaluationInput, evaluate_lists
from training.report_page import summary_table, write_report

TEST_FROM = 1_512_363_600_000  # 2017-12-04T05:00:00Z
TEST_TO = TEST_FROM + 28 * 24 * 3_600_000


def lists_of(**items: str) -> pl.DataFrame:
    rows = [(user, item, rank) for user, ranked in items.items() for rank, item in enumerate(ranked, 1)]
    return pl.DataFrame(
        rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int64}, orient="row"
    )


NOVEL_SLICES = ("novel", "novel_cold_items", "novel_warm_items")


def recall_of(*values: float) -> pl.DataFrame:
    return pl.DataFrame({"user_id": list("abc")[: len(values)], "recall@500": list(values)})


def small_evaluation() -> EvaluationInput:
    """User a re-buys x and tries y; user b, who is new, buys the cold item z."""
    return EvaluationInput(
        dataset="tiny",
        train_until_ms=TEST_FROM,
        test_from_ms=TEST_FROM,
        test_to_ms=TEST_TO,
        model_version="v1",
        lists=lists_of(a="xw", b="xz"),
        novel_lists=lists_of(a="y", b="xz"),
        truth=lists_of(a="xy", b="z").drop("rank"),
        history_pairs=lists_of(a="xw", c="y").drop("rank"),
        warm_items=pl.Series(["x", "y", "w", "y"]),
        num_items=8,
    )


def full_evaluation() -> EvaluationInput:
    return replace(
        small_evaluation(),
        baselines={
            "popular": BaselineLists(lists_of(a="y", b="x"), lists_of(a="y", b="z")),
            "ease": BaselineLists(lists_of(a="xw", b="xz")),
        },
        candidates={"own": recall_of(0.5, 0.0), "text": recall_of(0.5, 1.0), "merged": recall_of(1.0, 1.0)},
        texts={"frozen_text": lists_of(a="wx", b="w"), "tuned_text": lists_of(a="xy", b="w")},
        timings_seconds={"train_encoder": 12.0, "evaluate": 0.5},
        curves={"loss": [(0, 4.0), (50, 2.0)], "validation_recall": [(50, 0.2), (100, 0.3)], "unused": []},
        feature_gain={
            "all": {"pair_sum_28d": 30.0, "interest <score>": 10.0},
            "new": {"interest <score>": 5.0, "unused": 0.0},
        },
        shap={"all": {"pair_sum_28d": 0.2, "interest <score>": 0.4}},
        calibration={
            "expected_calibration_error": 0.05,
            "bins": [
                {"predicted": 0.1, "observed": 0.05, "count": 10},
                {"predicted": 0.4, "observed": 0.45, "count": 10},
            ],
        },
        notes=["nobody took anything new: <no> ranker for it"],
        variants={"no_text": BaselineLists(lists_of(a="wx", b="x"), lists_of(a="x", b="z"))},
    )


def test_the_report_has_the_contracts_keys_and_only_what_was_measured() -> None:
    report = evaluate_lists(small_evaluation())
    assert report["split"] == {
        "train_until": "2017-12-04T05:00:00Z",
        "test_from": "2017-12-04T05:00:00Z",
        "test_to": "2018-01-01T05:00:00Z",
    }
    assert (report["dataset"], report["num_users"]) == ("tiny", 2)
    assert set(report["metrics"]) == {"ndcg@10", "recall@10", "mrr@10", "hit@10", "coverage@10"}
    known = {"light_users", "medium_users", "heavy_users"}
    assert set(report["slices"]) == {*NOVEL_SLICES, "cold_items", "warm_items", "new_users"} | known
    assert not report.keys() & {"calibration", "feature_gain", "shap", "notes"}
    assert report["where_we_lose"] == []
    assert report["never_below"] == {"ok": False, "below": [], "checked": []}
    assert report["baselines"] == {}
    assert report["ablations"] == report["text_alone"] == {}
    assert report["candidates"] == {"recall@500": {"by_source": {}}}
    assert report["timings_seconds"] == {}


def test_values_and_slices_are_those_computed_by_hand() -> None:
    report = evaluate_lists(small_evaluation())
    # a: x of {x, y}, first; b: z, second
    assert report["metrics"]["recall@10"]["value"] == pytest.approx((1 / 2 + 1) / 2)
    assert report["metrics"]["mrr@10"]["value"] == pytest.approx((1 + 1 / 2) / 2)
    assert report["metrics"]["coverage@10"]["value"] == pytest.approx(3 / 8)
    slices = report["slices"]
    assert {name: block["num_users"] for name, block in slices.items()} == {
        "novel": 2,
        "novel_cold_items": 1,
        "novel_warm_items": 1,
        "cold_items": 1,
        "warm_items": 1,
        "new_users": 1,
        "light_users": 1,
        "medium_users": 0,
        "heavy_users": 0,
    }
    assert slices["novel"]["mrr@10"]["value"] == pytest.approx((1 + 1 / 2) / 2)
    assert slices["cold_items"]["mrr@10"]["value"] == pytest.approx(1 / 2)
    assert slices["warm_items"]["recall@10"]["value"] == pytest.approx(1 / 2)
    assert slices["novel_cold_items"]["mrr@10"]["value"] == pytest.approx(1 / 2)  # b's z, among xz
    assert slices["novel_warm_items"]["mrr@10"]["value"] == 1.0  # a's y, which a never had
    assert slices["new_users"]["hit@10"]["value"] == 1.0


def test_a_slice_without_users_says_so_and_has_no_metrics() -> None:
    known = replace(small_evaluation(), history_pairs=small_evaluation().truth)
    slices = evaluate_lists(known)["slices"]
    assert slices["new_users"] == {"num_users": 0}
    assert slices["novel"] == {"num_users": 0}


def test_differences_are_ours_minus_theirs() -> None:
    report = evaluate_lists(full_evaluation())
    popular, ease = report["baselines"]["popular"], report["baselines"]["ease"]
    expected = report["metrics"]["ndcg@10"]["value"] - popular["ndcg@10"]["value"]
    assert popular["difference"]["value"] == pytest.approx(expected)
    assert popular["novel"]["difference"]["value"] < 0
    assert ease["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "novel" not in ease
    tuned = report["ablations"]["tuned_text"]
    assert tuned["difference"]["recall@500"]["value"] == pytest.approx(0.25)
    alone = report["text_alone"]["tuned_text"]
    assert alone["all"]["difference"]["recall@500"]["value"] == pytest.approx(0.25)
    assert alone["warm_items"]["ndcg@10"]["value"] == pytest.approx(1.0)
    assert alone["cold_items"]["recall@500"]["value"] == 0.0  # b wants z, and no text finds it
    assert alone["novel_warm_items"]["ndcg@10"]["value"] == 1.0  # a had x: y comes first
    assert "difference" not in report["text_alone"]["frozen_text"]["all"]
    # b wants z, which we have second
    assert alone["novel_cold_items"]["model"]["value"] == pytest.approx(1 / math.log2(3))
    assert set(report["candidates"]["recall@500"]["by_source"]) == {"own", "text"}
    assert report["candidates"]["recall@500"]["merged"]["value"] == 1.0


def test_every_slice_is_compared_with_every_baseline() -> None:
    slices = evaluate_lists(full_evaluation())["slices"]
    novel, cold = slices["novel"]["differences"], slices["cold_items"]["differences"]
    assert novel.keys() == {"popular"}  # the other one made no such lists
    assert cold.keys() == slices["light_users"]["differences"].keys() == {"popular", "ease"}
    # b wants z: we have it second, the popular list not at all
    assert cold["popular"]["value"] == pytest.approx(1 / math.log2(3))
    assert cold["ease"]["value"] == 0.0
    assert "differences" not in slices["heavy_users"]


def test_where_a_baseline_is_ahead_for_sure_is_named_and_the_cheap_ones_are_watched() -> None:
    better = BaselineLists(lists_of(a="xy", b="z"))
    evaluation = replace(small_evaluation(), baselines={"personal_frequency": better, "ease": better})
    report = evaluate_lists(evaluation)
    lost = {(row["slice"], row["baseline"]) for row in report["where_we_lose"]}
    # a wants x and y, and we have x first: short of y alone; b wants the cold z, and we have it second
    expected = {"all", "cold_items", "warm_items", "new_users", "light_users"}
    assert lost == {(name, baseline) for name in expected for baseline in evaluation.baselines}
    worst = report["where_we_lose"][0]
    assert worst["difference"]["value"] == min(row["difference"]["value"] for row in report["where_we_lose"])
    assert report["never_below"]["ok"] is False
    below = report["never_below"]["below"]
    assert {(row["slice"], row["baseline"]) for row in below} == {(n, "personal_frequency") for n in expected}
    assert {row["baseline"] for row in report["never_below"]["checked"]} == {"personal_frequency"}
    worse = replace(small_evaluation(), baselines={"popular": BaselineLists(lists_of(a="y", b="x"))})
    assert evaluate_lists(worse)["never_below"]["ok"] is True


def test_variants_that_were_trained_again_are_compared_by_slice() -> None:
    blocks = evaluate_lists(full_evaluation())["ablations"]
    retrained = blocks["no_text"]["slices"]
    assert retrained["all"]["ndcg@10"] == blocks["no_text"]["ndcg@10"]
    assert retrained.keys() == {"all", *NOVEL_SLICES, "cold_items", "warm_items", "new_users", "light_users"}
    # the cold z, which the variant lacks and we have second
    assert retrained["cold_items"]["difference"]["value"] == pytest.approx(1 / math.log2(3))
    assert retrained["novel"]["ndcg@10"]["value"] == pytest.approx(1 / 2)
    assert blocks["tuned_text"].keys() == {"recall@500", "difference"}


def intervals(node: Any) -> list[dict[str, float]]:
    if not isinstance(node, dict):
        return []
    if "value" in node:
        return [node]
    return [found for child in node.values() for found in intervals(child)]


def test_every_interval_surrounds_its_value() -> None:
    found = intervals(evaluate_lists(full_evaluation()))
    assert len(found) > 30
    assert all(set(numbers) == {"value", "low", "high"} for numbers in found)
    assert all(numbers["low"] - 1e-12 <= numbers["value"] <= numbers["high"] + 1e-12 for numbers in found)


def test_a_model_that_saw_the_test_window_is_refused() -> None:
    with pytest.raises(LeakageError, match=r"2017-12-04T05:00:00\.001Z"):
        evaluate_lists(replace(small_evaluation(), train_until_ms=TEST_FROM + 1))


def test_an_empty_test_window_is_refused() -> None:
    with pytest.raises(DataError, match="got none"):
        evaluate_lists(replace(small_evaluation(), truth=small_evaluation().truth.clear()))


def test_the_files_hold_the_report_and_need_nothing_from_elsewhere(tmp_path: Path) -> None:
    evaluation = full_evaluation()
    report = evaluate_lists(evaluation)
    json_path, html_path = tmp_path / "out" / "report.json", tmp_path / "out" / "report.html"
    write_report(report, evaluation, json_path, html_path)
    assert json.loads(json_path.read_text(encoding="utf-8")) == report
    assert {path.name for path in json_path.parent.iterdir()} == {"report.json", "report.html"}
    page = html_path.read_text(encoding="utf-8")
    images = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(images) == 7
    assert all("<svg" in base64.b64decode(image).decode() for image in images)
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    assert "Personal frequency" not in page
    assert "EASE" in page


def test_the_page_names_the_slices_that_lie_below_a_baseline_that_costs_nothing(tmp_path: Path) -> None:
    better = BaselineLists(lists_of(a="x", b="zx"))
    evaluation = replace(small_evaluation(), baselines={"popular": better})
    report = evaluate_lists(evaluation)
    assert {row["slice"] for row in report["never_below"]["below"]} == {"cold_items", "new_users"}
    write_report(report, evaluation, None, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Below a baseline that costs nothing" in page
    assert "Cold items (against Popular)" in page
    assert "New users (against Popular)" in page
    assert "Light users (against Popular)" not in page


def test_a_report_with_the_least_is_written_too(tmp_path: Path) -> None:
    evaluation = small_evaluation()
    write_report(evaluate_lists(evaluation), evaluation, None, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_page_escapes_what_comes_from_data(tmp_path: Path) -> None:
    evaluation = replace(small_evaluation(), dataset="<b>shop</b>")
    write_report(evaluate_lists(evaluation), evaluation, None, tmp_path / "report.html")
    assert "<b>shop</b>" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_is_the_same_every_time(tmp_path: Path) -> None:
    evaluation = full_evaluation()
    pages = []
    for name in ("one.html", "two.html"):
        write_report(evaluate_lists(evaluation), evaluation, None, tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_the_summary_names_every_system() -> None:
    console = Console(width=120, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(summary_table(evaluate_lists(full_evaluation())))
    text = captured.get()
    assert all(word in text for word in ("This model", "Popular", "EASE", "NDCG@10", "tiny"))
