import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from typer.testing import CliRunner

from recsys.errors import ConfigError, DataError
from recsys.experiments.baseline import Baseline, baselines_of
from recsys.experiments.commands import experiment as command
from recsys.experiments.definition import Analysis
from recsys.experiments.past_units import history_from_file, history_from_log
from recsys.experiments.power import needed_z, plan
from recsys.workspace import Workspace
from tests.recsys.experiments.small_experiment import toml
from tests.recsys.experiments.test_report import Event, write_events
from tests.recsys.experiments.unit_data import CLICK_RATE, CONVERSION, REVENUE, experiment, units

ANALYSIS = Analysis(power=0.9, looks=5, expected_units=10_000)


def factor(**changes: Any) -> float:
    """Units that a method needs, relative to a fixed horizon."""
    fixed = stats.norm.ppf(0.975) + stats.norm.ppf(0.9)
    return float((needed_z(ANALYSIS.model_copy(update=changes), 0.05) / fixed) ** 2)


def test_ten_against_eleven_percent_needs_14748_units_per_arm() -> None:
    proportion = {**CONVERSION, "role": "primary"}
    planned = plan(experiment(proportion), [Baseline("conversion", "proportion", 0.1, 0.09)], 0.1)
    assert planned.requirements[0].units == pytest.approx(2 * 14_748, abs=2)


def test_means_need_what_statsmodels_says_for_equal_and_unequal_arms() -> None:
    planned = plan(experiment(), [Baseline("revenue", "mean", 10.0, 400.0)], 0.05)
    reference = NormalIndPower().solve_power(effect_size=0.5 / 20, alpha=0.05, power=0.8, ratio=1.0)
    assert planned.requirements[0].units == pytest.approx(2 * reference, rel=1e-4)
    unequal = experiment()
    arms = tuple(
        arm.model_copy(update={"weight": weight})
        for arm, weight in zip(unequal.arms, (0.8, 0.2), strict=True)
    )
    needed = plan(unequal.model_copy(update={"arms": arms}), [Baseline("revenue", "mean", 10.0, 400.0)], 0.05)
    control = NormalIndPower().solve_power(effect_size=0.5 / 20, alpha=0.05, power=0.8, ratio=0.25)
    assert needed.requirements[0].units == pytest.approx(1.25 * control, rel=1e-4)
    assert needed.requirements[0].units_by_arm["control"] == pytest.approx(control, rel=1e-4)


def test_sequential_methods_need_more() -> None:
    assert factor(method="fixed") == pytest.approx(1.0)
    assert factor(method="group_sequential") == pytest.approx(1.026, abs=5e-3)
    assert factor(method="group_sequential", spending="pocock") == pytest.approx(1.207, abs=0.015)
    assert factor(method="always_valid") > 1.6


def test_what_the_planned_size_can_find_is_found_with_that_size() -> None:
    defined = experiment(expected_units=20_000)
    baseline = Baseline("revenue", "mean", 10.0, 400.0)
    detectable = plan(defined, [baseline]).requirements[0].detectable
    assert detectable is not None
    assert plan(defined, [baseline], detectable).requirements[0].units == pytest.approx(20_000, abs=1)


def test_history_gives_means_variances_and_what_a_covariate_explains(tmp_path: Path) -> None:
    frame = units()
    frame.drop("arm").write_parquet(tmp_path / "history.parquet")
    defined = experiment({**REVENUE, "covariate": "revenue_before"}, CONVERSION, CLICK_RATE)
    history = history_from_file(tmp_path / "history.parquet", defined)
    revenue, conversion, click_rate = baselines_of(defined, history.frame)
    assert revenue.mean == pytest.approx(frame["revenue"].mean())
    assert revenue.explained > 0.15
    assert conversion.variance == pytest.approx(conversion.mean * (1 - conversion.mean))
    assert click_rate.mean == pytest.approx(
        frame["clicks"].to_numpy().sum() / frame["impressions"].to_numpy().sum()
    )
    planned = plan(defined, [revenue, conversion, click_rate])
    assert planned.alpha == 0.025  # two goal metrics
    assert planned.requirements[2].effect == pytest.approx(0.01 / click_rate.mean)
    still = baselines_of(defined, history.frame.with_columns(bought=pl.lit(1.0)))
    assert plan(defined, still).left_out == ("conversion",)
    with pytest.raises(DataError, match="no metric varies"):
        baselines_of(experiment(), frame.with_columns(revenue=1.0))


def test_the_logs_last_weeks_are_history_too(tmp_path: Path) -> None:
    start, day = datetime.fromisoformat("2026-01-01T00:00:00+00:00"), timedelta(days=1)
    events: list[Event] = [
        (f"u{user}", "purchase", start + day * number, 10.0 + user, 1.0)
        for user in range(8)
        for number in range(60)
    ]
    write_events(Workspace(tmp_path), events)
    defined = experiment({**REVENUE, "covariate": "revenue_before"}, window_days=7.0)
    history = history_from_log(Workspace(tmp_path), defined)
    assert sorted(history.frame["revenue"]) == [7 * (10.0 + user) for user in range(8)]
    assert sorted(history.frame["revenue_before"]) == [28 * (10.0 + user) for user in range(8)]
    with pytest.raises(DataError, match="two windows"):
        history_from_log(Workspace(tmp_path / "empty"), defined)


def test_the_command_plans_by_hand_and_from_a_file(tmp_path: Path) -> None:
    definition, data = tmp_path / "d.toml", tmp_path / "history.parquet"
    definition.write_text(toml(), encoding="utf-8")
    units().write_parquet(data)
    words = ["power", "--definition", str(definition)]
    by_hand = [*words, "--mean", "10", "--std", "20", "--effect", "0.05", "--json"]
    document = json.loads(CliRunner().invoke(command, by_hand, catch_exceptions=False).stdout)
    two = tmp_path / "two.toml"
    two.write_text(f'{toml()}[[metrics]]\nname = "n"\nvalue = "clicks"\n', encoding="utf-8")
    planned = CliRunner().invoke(command, ["power", "--definition", str(two), *by_hand[3:-1]])
    assert (planned.exit_code, "left out" in planned.stdout) == (0, False)
    assert document["requirements"][0]["units"] == pytest.approx(50_234, rel=1e-3)
    shown = CliRunner().invoke(command, [*words, "--data", str(data)], catch_exceptions=False).stdout
    assert "revenue" in shown
    with pytest.raises(ConfigError, match="--std"):
        CliRunner().invoke(command, [*words, "--mean", "10"], catch_exceptions=False)
