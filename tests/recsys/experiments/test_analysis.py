import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

from recsys.errors import DataError
from recsys.experiments.analysis import analyze
from recsys.experiments.auto_stop import reason_to_stop
from recsys.experiments.commands import experiment as command
from recsys.experiments.page import write_page
from recsys.experiments.result import Result
from recsys.experiments.result_json import as_json
from recsys.experiments.sitting import look_of
from recsys.experiments.unit_table import check_units, read_units
from tests.recsys.experiments.small_experiment import toml
from tests.recsys.experiments.unit_data import CLICK_RATE, CONVERSION, REVENUE, experiment, units


def analyzed(frame: pl.DataFrame, *metrics: dict[str, Any], arms: int = 2, **analysis: Any) -> Result:
    defined = experiment(*metrics, arms=arms, **analysis)
    return analyze(defined, check_units(frame, defined))


def codes(result: Result) -> set[str]:
    return {problem.code for problem in result.problems}


def test_a_better_arm_is_shipped_and_the_document_holds_what_the_contract_names() -> None:
    frame = units(lift=1.1)
    result = analyzed(frame, {**REVENUE, "covariate": "revenue_before"}, CONVERSION, CLICK_RATE)
    document = json.loads(json.dumps(as_json(result), allow_nan=False))
    assert document["verdict"] == "ship"
    assert document["reasons"]
    assert document["units"] == {"control": 2000, "arm1": 2000}
    assert document["srm"] == {"p_value": 1.0, "sequential_p_value": 1.0, "chi2": 0.0, "ok": True}
    assert [metric["name"] for metric in document["metrics"]] == ["revenue", "conversion", "click_rate"]
    assert [metric["method"] for metric in document["metrics"]] == ["fixed"] * 3
    (found,) = document["metrics"][1]["comparisons"]
    shares = [np.mean(frame.filter(arm=arm)["bought"].to_numpy()) for arm in ("arm1", "control")]
    assert (found["arm"], found["control"]) == ("arm1", "control")
    assert found["absolute"]["estimate"] == pytest.approx(shares[0] - shares[1])
    assert set(found["absolute"]) == {"estimate", "std_error", "low", "high"}
    assert set(found["relative"]) == {"estimate", "low", "high"}
    assert found["p_value"] <= found["adjusted_p_value"]
    assert document["metrics"][0]["arms"]["control"]["n"] == 2000
    assert document["metrics"][2]["comparisons"][0]["guardrail"]["status"] == "passed"


def test_units_of_an_arm_that_nobody_is_assigned_to_block_the_verdict() -> None:
    defined = experiment(arms=3)
    arms = [
        arm.model_copy(update={"weight": weight})
        for arm, weight in zip(defined.arms, (0.5, 0.5, 0.0), strict=True)
    ]
    defined = defined.model_copy(update={"arms": tuple(arms)})
    found = analyze(defined, check_units(units(arms=3), defined))
    assert (found.srm.ok, found.judgement.verdict) == (True, "blocked")
    assert "arm2 1,333" in next(each.message for each in found.problems if each.code == "unweighted_arm")


def test_plain_means_are_those_of_scipy() -> None:
    frame = units(lift=1.05)
    (comparison,) = analyzed(frame).metrics[0].comparisons
    arms = [frame.filter(arm=arm)["revenue"].to_numpy() for arm in ("arm1", "control")]
    welch = stats.ttest_ind(*arms, equal_var=False)
    assert comparison.p_value == pytest.approx(welch.pvalue, rel=1e-9)
    limits = welch.confidence_interval(0.95)
    assert comparison.absolute.low == pytest.approx(limits.low, rel=1e-9)
    assert comparison.absolute.high == pytest.approx(limits.high, rel=1e-9)


def test_a_worse_arm_is_stopped_and_an_equal_one_at_the_planned_end() -> None:
    assert analyzed(units(lift=0.9)).judgement.verdict == "stop"
    equal = units(2000, seed=3)
    assert analyzed(equal, expected_units=2000).judgement.verdict == "stop"
    assert analyzed(equal).judgement.verdict == "continue"  # nobody said where the end is


def test_a_fixed_horizon_is_not_read_before_its_end() -> None:
    result = analyzed(units(lift=1.2), expected_units=10_000)
    assert result.judgement.verdict == "continue"
    assert "4,000 of 10,000" in result.judgement.reasons[0]


def test_a_smaller_revenue_is_better_where_the_definition_says_so() -> None:
    assert analyzed(units(lift=0.9), {**REVENUE, "direction": "decrease"}).judgement.verdict == "ship"


@pytest.mark.parametrize("method", ["always_valid", "group_sequential"])
def test_sequential_methods_may_decide_early_and_say_so(method: str) -> None:
    result = analyzed(units(lift=1.2), method=method, expected_units=8000, looks=4)
    assert result.judgement.verdict == "ship"
    assert "overstate" in result.judgement.reasons[-1]
    (wide,) = result.metrics[0].comparisons
    (narrow,) = analyzed(units(lift=1.2)).metrics[0].comparisons
    assert wide.absolute.low is not None
    assert narrow.absolute.low is not None
    assert wide.absolute.low < narrow.absolute.low


def test_sequential_methods_wait_for_their_first_look() -> None:
    few = units(300, lift=2.0)
    waiting = analyzed(few, method="always_valid", expected_units=8000)
    assert waiting.judgement.verdict == "continue"
    first = analyzed(few, method="group_sequential", expected_units=8000, looks=4)
    assert "first of 4 looks" in first.judgement.reasons[0]


@pytest.mark.parametrize("method", ["fixed", "group_sequential", "always_valid"])
def test_no_method_decides_on_few_units_or_conversions_and_no_look_is_used_up(method: str) -> None:
    few = analyzed(units(300, lift=3.0), method=method, expected_units=300)
    assert few.judgement.verdict == "continue"
    assert "fewer than 200 units" in few.judgement.reasons[0]
    assert look_of(few) is None
    rare = units(1000).with_columns(bought=(pl.col("arm") == "arm1") & (pl.int_range(pl.len()) < 400))
    found = analyzed(rare, {**CONVERSION, "role": "primary"}, method=method, expected_units=1000)
    assert "fewer than 20 conversions" in found.judgement.reasons[0]
    assert found.judgement.verdict == "continue"


def test_a_sample_ratio_mismatch_blocks_whatever_the_effect() -> None:
    frame = units(lift=1.3)
    result = analyzed(frame.filter((pl.col("arm") == "control") | (pl.int_range(pl.len()) % 3 != 0)))
    assert not result.srm.ok
    assert result.judgement.verdict == "blocked"
    assert "sample ratio" in result.judgement.reasons[0]


def test_a_guardrail_that_breaks_stops_and_one_that_is_unsure_holds_back() -> None:
    frame = units(lift=1.2)
    worse = frame.with_columns(clicks=pl.when(pl.col("arm") == "arm1").then(0).otherwise("clicks"))
    assert analyzed(worse, REVENUE, CLICK_RATE).judgement.verdict == "stop"
    unsure = analyzed(frame, REVENUE, {**CLICK_RATE, "margin": 1e-6})
    assert unsure.judgement.verdict == "continue"
    assert "click_rate" in unsure.judgement.reasons[0]
    assert analyzed(frame, REVENUE, {**CLICK_RATE, "margin": None}).judgement.verdict == "ship"


def test_p_values_are_corrected_over_goal_metrics_times_arms_and_not_on_guardrails() -> None:
    from statsmodels.stats.multitest import multipletests

    result = analyzed(units(6000, 1.02, arms=3), REVENUE, CONVERSION, CLICK_RATE, arms=3)
    goals = [each for metric in result.metrics[:2] for each in metric.comparisons]
    given = [each.p_value for each in goals]
    assert len(given) == 4
    holm = multipletests(given, method="holm")[1]
    assert [each.adjusted_p_value for each in goals] == pytest.approx(list(holm), rel=1e-12)
    assert all(each.p_value == each.adjusted_p_value for each in result.metrics[2].comparisons)


def test_of_several_arms_one_may_be_shipped() -> None:
    frame = units(6000, arms=3)
    better = pl.when(pl.col("arm") == "arm2").then(pl.col("revenue") * 1.2).otherwise("revenue")
    result = analyzed(frame.with_columns(better), arms=3)
    assert result.judgement.verdict == "ship"
    assert result.judgement.arms == {"arm1": "continue", "arm2": "ship"}


# ---- bad data -------------------------------------------------------------------


def test_an_unknown_column_is_named_with_those_that_there_are() -> None:
    with pytest.raises(DataError, match=r"'bought' \(for metric 'conversion'\).*unit_id"):
        analyzed(units().drop("bought"), REVENUE, CONVERSION)


def test_texts_are_no_numbers_and_strange_arms_no_arms() -> None:
    with pytest.raises(DataError, match="expected numbers in column 'revenue'"):
        analyzed(units().with_columns(pl.col("revenue").cast(pl.String)))
    with pytest.raises(DataError, match=r"'treatment' \(2,000 rows\)"):
        analyzed(units().with_columns(pl.col("arm").replace("arm1", "treatment")))


def test_an_empty_arm_blocks() -> None:
    result = analyzed(units().filter(pl.col("arm") == "control"))
    assert "empty_arm" in codes(result)
    assert result.units == {"control": 2000, "arm1": 0}
    assert result.judgement.verdict == "blocked"
    assert analyzed(units().clear()).judgement.verdict == "blocked"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_blocks_its_metric_alone(value: float | None) -> None:
    damaged = pl.when(pl.int_range(pl.len()) == 7).then(value).otherwise("revenue").alias("revenue")
    frame = units().with_columns(damaged)
    result = analyzed(frame, REVENUE, CONVERSION)
    assert codes(result) == {"not_a_number"}
    assert result.judgement.verdict == "blocked"
    assert not result.metrics[0].comparisons
    assert result.metrics[1].comparisons
    secondary = analyzed(frame, {**CONVERSION, "role": "primary"}, {**REVENUE, "role": "secondary"})
    assert secondary.judgement.verdict != "blocked"


def test_no_variance_blocks_and_is_named() -> None:
    result = analyzed(units().with_columns(revenue=5.0))
    assert codes(result) == {"zero_variance"}
    assert result.judgement.verdict == "blocked"
    assert result.metrics[0].comparisons[0].p_value is None
    json.dumps(as_json(result), allow_nan=False)


@pytest.mark.parametrize("value", [0.1, 9.99])
def test_a_constant_decides_nothing_however_it_rounds_and_ends_nothing(value: float) -> None:
    frame = units(4001).with_columns(revenue=value, impressions=pl.int_range(pl.len()) % 7 + 1.0)
    frame = frame.with_columns(clicks=pl.col("impressions") * value * 0.01)
    assert analyzed(frame).judgement.verdict == "blocked"
    ratio = analyzed(frame, {**CLICK_RATE, "role": "primary", "margin": None})
    assert (codes(ratio), ratio.judgement.verdict) == ({"zero_variance"}, "blocked")
    assert "'clicks'/'impressions'" in ratio.problems[0].message
    watched = analyzed(frame, CONVERSION | {"role": "primary"}, REVENUE | {"role": "guardrail"}, CLICK_RATE)
    assert reason_to_stop(watched) is None


def test_a_ratio_without_denominator_is_named() -> None:
    nothing = pl.when(pl.col("arm") == "arm1").then(0).otherwise("impressions").alias("impressions")
    result = analyzed(units().with_columns(nothing), {**CLICK_RATE, "role": "primary", "margin": None})
    assert "zero_denominator" in codes(result)
    assert result.judgement.verdict == "blocked"
    json.dumps(as_json(result), allow_nan=False)


def test_a_proportion_of_other_values_is_refused() -> None:
    assert "no_proportion" in codes(analyzed(units(), {**CONVERSION, "role": "primary", "value": "clicks"}))


def test_equal_copies_of_a_unit_count_once_and_others_block() -> None:
    frame = units()
    copied = analyzed(pl.concat([frame, frame.head(10)]))
    assert codes(copied) == {"duplicate_units"}
    assert copied.units == {"control": 2000, "arm1": 2000}
    assert copied.judgement.verdict != "blocked"
    other = analyzed(pl.concat([frame, frame.head(10).with_columns(pl.col("revenue") + 1)]))
    assert other.judgement.verdict == "blocked"


def test_units_in_two_arms_are_left_out_and_block_when_there_are_many() -> None:
    frame = units()
    turned = pl.col("arm").replace({"control": "arm1", "arm1": "control"})
    few = analyzed(pl.concat([frame, frame.head(10).with_columns(turned)]))
    assert codes(few) == {"mixed_arms"}
    assert sum(few.units.values()) == 3990
    assert few.judgement.verdict != "blocked"
    many = analyzed(pl.concat([frame, frame.head(100).with_columns(turned)]))
    assert many.judgement.verdict == "blocked"


def test_rows_without_unit_are_counted() -> None:
    frame = units()
    nameless = frame.head(3).with_columns(unit_id=pl.lit(None, pl.String))
    assert "nameless_units" in codes(analyzed(pl.concat([frame, nameless])))


def test_a_covariate_may_be_missing_for_some_and_must_not_be_touched_by_the_experiment() -> None:
    adjusted = {**REVENUE, "covariate": "revenue_before"}
    known = units(lift=1.1)
    partly = pl.when(pl.int_range(pl.len()) % 5 > 0).then("revenue_before").alias("revenue_before")
    result = analyzed(known.with_columns(partly), adjusted)
    assert codes(result) == {"missing_covariate"}
    errors = [analyzed(known, metric).metrics[0].comparisons[0].std_error for metric in (REVENUE, adjusted)]
    assert errors[1] < result.metrics[0].comparisons[0].std_error < errors[0]
    nobody = known.with_columns(revenue_before=pl.lit(None, pl.Float64))
    assert analyzed(nobody, adjusted).metrics[0].comparisons[0].std_error == pytest.approx(errors[0])
    touched = (
        pl.when(pl.col("arm") == "arm1").then(pl.col("revenue_before") * 1.5).otherwise("revenue_before")
    )
    assert "covariate_imbalance" in codes(analyzed(known.with_columns(touched), adjusted))


def test_values_above_the_cap_are_cut_in_all_arms_and_skewed_ones_are_named() -> None:
    frame = units()
    whale = pl.when(pl.int_range(pl.len()) == 1).then(1e7).otherwise("revenue").alias("revenue")
    heavy = analyzed(frame.with_columns(whale))
    assert "heavy_tail" in codes(heavy)
    cut = analyzed(frame.with_columns(whale), {**REVENUE, "winsorize": 0.999})
    values = frame.with_columns(whale)["revenue"].to_numpy()
    assert cut.metrics[0].cap == pytest.approx(np.quantile(values, 0.999))
    assert cut.metrics[0].comparisons[0].std_error < heavy.metrics[0].comparisons[0].std_error / 100


def test_revenue_is_shown_again_cut_the_other_way_and_decides_nothing() -> None:
    frame = units(lift=1.1)
    whale = pl.when(pl.int_range(pl.len()) == 1).then(1e7).otherwise("revenue").alias("revenue")
    result = analyzed(frame.with_columns(whale), REVENUE, CONVERSION)
    (twin,) = result.sensitivity
    assert (twin.metric.name, twin.metric.winsorize) == ("revenue", 0.999)
    assert result.judgement.verdict == "continue"  # the whale hides what the twin shows
    assert (twin.comparisons[0].p_value or 1) < 0.001
    (uncut,) = analyzed(frame.with_columns(whale), {**REVENUE, "winsorize": 0.999}).sensitivity
    assert uncut.cap is None
    assert uncut.comparisons[0].std_error == pytest.approx(result.metrics[0].comparisons[0].std_error)
    document = as_json(result)
    assert [metric["name"] for metric in document["sensitivity"]] == ["revenue"]
    assert len(document["metrics"]) == 2


# ---- over time, segments, page ----------------------------------------------------


def test_the_course_over_time_ends_where_the_whole_is_and_segments_are_exploratory(tmp_path: Path) -> None:
    days = pl.datetime(2026, 3, 1, time_zone="UTC") + pl.duration(days=pl.int_range(pl.len()) % 7)
    frame = units(lift=1.05).with_columns(exposure_time=days)
    frame.write_parquet(tmp_path / "units.parquet")
    defined = experiment({**REVENUE, "covariate": "revenue_before"})
    result = analyze(defined, read_units(tmp_path / "units.parquet", defined, ["country"]), ["country"])
    assert [day.date for day in result.over_time] == [f"2026-03-0{day}" for day in range(1, 8)]
    last, (whole,) = result.over_time[-1], result.metrics[0].comparisons
    assert last.units == result.units
    absolute, relative = last.lifts["arm1"]
    assert absolute.estimate == pytest.approx(whole.absolute.estimate)
    assert relative.estimate == pytest.approx(whole.relative.estimate)
    assert {(segment.column, segment.value) for segment in result.segments} == {
        ("country", "DE"),
        ("country", "AT"),
    }
    document = as_json(result)
    assert all(segment["exploratory"] for segment in document["segments"])
    write_page(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") == 3
    assert "Segments (exploratory)" in page
    assert "http" not in page.split("<main>")[1].replace("http://www.w3.org", "")


def test_times_without_zone_are_utc_and_texts_are_no_times() -> None:
    frame = units().with_columns(exposure_time=pl.lit("2026-03-01T00:00:00+02:00"))
    with pytest.raises(DataError, match="time zones may be mixed"):
        analyzed(frame)
    naive = frame.with_columns(exposure_time=pl.datetime(2026, 3, 1, 23, 30))
    assert [day.date for day in analyzed(naive).over_time] == ["2026-03-01"]
    vienna = pl.datetime(2026, 3, 2, 0, 30, time_zone="Europe/Vienna")
    assert [day.date for day in analyzed(frame.with_columns(exposure_time=vienna)).over_time] == [
        "2026-03-01"
    ]


def test_a_page_of_a_blocked_experiment_says_what_is_wrong(tmp_path: Path) -> None:
    result = analyzed(units().with_columns(revenue=5.0))
    write_page(result, tmp_path / "page.html")
    assert "zero variance" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "units.parquet").write_text("unit_id,arm", encoding="utf-8")
    with pytest.raises(DataError, match="expected a Parquet file"):
        read_units(tmp_path / "units.parquet", experiment())


def test_a_blocked_verdict_is_a_result_and_exits_with_zero(tmp_path: Path) -> None:
    definition, data = tmp_path / "d.toml", tmp_path / "units.parquet"
    definition.write_text(toml(), encoding="utf-8")
    frame = units().with_columns(pl.col("arm").replace("arm1", "treatment"))
    frame.filter((pl.col("arm") == "control") | (pl.int_range(pl.len()) % 3 != 0)).write_parquet(data)
    words = ["analyze", "--definition", str(definition), "--data", str(data), "--segment", "country"]
    done = CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["verdict"] == "blocked"
    assert not document["srm"]["ok"]
    shown = CliRunner().invoke(command, words, catch_exceptions=False).stdout
    assert "verdict: blocked" in shown
    assert "revenue by segment" in shown
    assert all(f"country = {country}" in shown for country in frame["country"].unique())
    assert "decide nothing" in shown
