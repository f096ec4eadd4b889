import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from recsys.errors import DataError
from recsys.experiments.commands import experiment as command
from recsys.experiments.difference import compare
from recsys.experiments.estimate import estimate_arms
from recsys.experiments.metric import Kind
from recsys.experiments.moments import Moments
from recsys.experiments.paths import Population, draw_paths
from recsys.experiments.simulation import Simulation, simulate
from tests.recsys.experiments.small_experiment import toml
from tests.recsys.experiments.unit_data import CLICK_RATE, CONVERSION, REVENUE, experiment, units

PRIMARY = {
    "mean": REVENUE,
    "cuped": {**REVENUE, "covariate": "revenue_before"},
    "proportion": {**CONVERSION, "role": "primary"},
    "ratio": {**CLICK_RATE, "role": "primary", "margin": None},
}
HISTORY = units(2000).with_columns(pl.col("bought", "clicks", "impressions").cast(pl.Float64))


def simulated(metric: dict[str, Any], **options: Any) -> Simulation:
    rng = np.random.default_rng(7)
    return simulate(experiment(metric, looks=5), HISTORY, rng, **options)


def test_seventy_nine_looks_find_nothing_where_there_is_nothing_unless_peeked_at() -> None:
    done = simulated(REVENUE, runs=2000, looks=79, units=3950)
    assert done.rates["always_valid"].rate <= 0.05
    assert done.rates["mixture_sprt"].rate <= 0.05
    assert done.rates["peeking"].rate > 0.28
    assert done.rates["fixed"].low <= 0.05 <= done.rates["fixed"].high
    assert done.rates["group_sequential"].low <= 0.05 <= done.rates["group_sequential"].high
    assert done.uniformity > 0.001


@pytest.mark.parametrize("kind", PRIMARY)
def test_every_kind_of_metric_is_false_as_often_as_alpha_and_finds_what_is_planted(kind: str) -> None:
    nothing = simulated(PRIMARY[kind], runs=1000, looks=5, units=1000)
    assert nothing.rates["fixed"].low <= 0.05 <= nothing.rates["fixed"].high
    assert nothing.uniformity > 0.001
    planted = simulated(PRIMARY[kind], runs=100, looks=5, units=2000, effect=0.5)
    assert min(rate.rate for name, rate in planted.rates.items() if name != "mixture_sprt") > 0.9


def test_a_covariate_finds_more() -> None:
    plain, adjusted = (
        simulated(PRIMARY[kind], runs=500, looks=2, units=1000, effect=0.08).rates["fixed"]
        for kind in ("mean", "cuped")
    )
    assert adjusted.rate > plain.rate + 0.05


@pytest.mark.parametrize("kind", ["mean", "proportion", "ratio"])
def test_looks_see_what_an_analysis_of_the_same_units_would(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    outcomes = np.stack([rng.binomial(1, 0.3, 50).astype(float), 1.0 + rng.poisson(2, 50)])
    population = Population(outcomes if kind == "ratio" else outcomes[:1], kind, 0.4)
    paths = draw_paths(population, np.random.default_rng(1), runs=1, looks=3, block=40)
    assert paths.units.tolist() == [40.0, 80.0, 120.0]
    same = np.random.default_rng(1)
    drawn = population.outcomes[:, same.integers(0, 50, (1, 3, 40))].reshape(-1, 120)
    treated = (same.random((1, 3, 40)) < 0.4).reshape(120)
    for look, n in enumerate((40, 80, 120)):
        arms = [Moments.of(drawn[:, :n][:, arm[:n]]) for arm in (treated, ~treated)]
        estimates = estimate_arms(dict(zip("tc", arms, strict=True)), "ratio" if kind == "ratio" else "mean")
        found = compare(estimates["t"], estimates["c"])
        assert paths.difference[0, look] == pytest.approx(found.estimate, rel=1e-9)
        assert paths.std_error[0, look] == pytest.approx(found.std_error, rel=1e-9)
        assert paths.fewest[0, look] == min(arm.n for arm in arms)


def test_what_cannot_be_simulated_is_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="at least 40 units"):
        simulate(experiment(), HISTORY, rng, looks=20, units=30)
    with pytest.raises(DataError, match="same for every unit"):
        simulate(experiment(), HISTORY.with_columns(revenue=1.0), rng)


def test_equal_seeds_give_equal_documents(tmp_path: Path) -> None:
    definition, data = tmp_path / "d.toml", tmp_path / "history.parquet"
    definition.write_text(toml(), encoding="utf-8")
    HISTORY.write_parquet(data)
    words = [
        "simulate",
        "--definition",
        str(definition),
        "--data",
        str(data),
        "--runs",
        "100",
        "--units",
        "400",
    ]
    first, second = (
        CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False) for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert set(json.loads(first.stdout)["rates"]) == {
        "fixed",
        "peeking",
        "always_valid",
        "mixture_sprt",
        "group_sequential",
    }
    assert "A/A" in CliRunner().invoke(command, words, catch_exceptions=False).stdout
