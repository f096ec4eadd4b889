"""An experiment of a million units and ten metrics, analysed as a command: seconds and peak memory.

``pytest tests/benchmarks/test_experiment_report.py --benchmark-only -o addopts= -s``; the units are read
from a Parquet file in one test, and joined from the logs, with five events per unit, in the other.
"""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from recsys.event_log import EventLog
from recsys.experiments.registry import ExperimentRegistry
from recsys.schema import EVENT_SCHEMA, SERVED_LIST_SCHEMA
from recsys.workspace import Workspace

_UNITS = 1_000_000
_ARMS = '[[arms]]\nkey = "control"\nweight = 0.5\n[[arms]]\nkey = "treatment"\nweight = 0.5\n'
_METRIC = '[[metrics]]\nname = "m{0}"\nrole = "{1}"\nvalue = "{2}"\ncovariate = "{3}"\nwinsorize = 0.999\n'
_ANALYSIS = "[analysis]\nmethod = 'always_valid'\nexpected_units = 1000000\n"

pytestmark = pytest.mark.timeout(1200)


def _definition(columns: list[str], covariate: str) -> str:
    metrics = [
        _METRIC.format(number, "secondary" if number else "primary", column, covariate)
        for number, column in enumerate(columns)
    ]
    return f'key = "e"\n{_ARMS}{"".join(metrics)}{_ANALYSIS}'


def _run(words: list[str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "recsys", "experiment", *words, "--json"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _measure(benchmark: BenchmarkFixture, words: list[str]) -> None:
    benchmark.pedantic(_run, (words,), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["peak_gb"] = getrusage(RUSAGE_CHILDREN).ru_maxrss / 1e6


def test_a_million_units_from_a_file(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {f"c{number}": rng.gamma(0.5, 20, _UNITS) for number in range(11)}
    arms = np.where(rng.random(_UNITS) < 0.5, "control", "treatment")
    minutes = pl.duration(minutes=pl.lit(pl.Series(rng.integers(0, 14 * 1440, _UNITS))))
    pl.DataFrame({"unit_id": np.arange(_UNITS), "arm": arms, **columns}).with_columns(
        exposure_time=pl.datetime(2026, 3, 1, time_zone="UTC") + minutes
    ).write_parquet(tmp_path / "units.parquet")
    (tmp_path / "d.toml").write_text(_definition(list(columns)[:10], "c10"), encoding="utf-8")
    files = ["--definition", str(tmp_path / "d.toml"), "--data", str(tmp_path / "units.parquet")]
    _measure(benchmark, ["analyze", *files, "--html", str(tmp_path / "page.html")])


def test_a_million_units_from_the_log(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    rng, workspace = np.random.default_rng(0), Workspace(tmp_path / "w")
    columns = ["revenue", "clicks", "views", "purchases", "orders"] * 2
    running = ExperimentRegistry(workspace).start(_definition(columns, "revenue_before"), "d.toml")
    start_ms = int((running.started + timedelta(hours=1)).timestamp() * 1000)
    arms = np.where(rng.random(_UNITS) < 0.5, "control", "treatment")
    lists = pl.DataFrame({"subject": np.arange(_UNITS), "arm": arms}).select(
        list_id=pl.col("subject").cast(pl.String),
        subject=pl.format("u{}", "subject"),
        served_time=pl.Series(start_ms + rng.integers(0, 14 * 86_400_000, _UNITS)),
        arms=pl.concat_list(
            pl.struct(pl.lit("e").alias("experiment"), pl.col("arm"), pl.lit(1).alias("version"))
        ),
    )
    _in_schema(lists, SERVED_LIST_SCHEMA).write_parquet(
        _made(workspace.served_lists / "day=2026-03-01") / "a.parquet"
    )
    size = 5 * _UNITS
    kinds = pl.Series(["view", "click", "purchase"]).gather(rng.integers(0, 3, size))
    events = pl.DataFrame({"event_id": np.arange(size)}).select(
        event_id=pl.col("event_id").cast(pl.String),
        event_type=kinds,
        user_id=pl.format("u{}", pl.Series(rng.integers(0, _UNITS, size))),
        item_id=pl.lit("i"),
        event_time=pl.Series(start_ms + rng.integers(-14 * 86_400_000, 28 * 86_400_000, size)),
        price=pl.Series(rng.gamma(0.5, 20, size)),
    )
    log = _in_schema(events.with_columns(received_time="event_time"), EVENT_SCHEMA)
    EventLog(workspace.events).append(log, "all")
    page = str(tmp_path / "page.html")
    _measure(benchmark, ["report", "e", "--workspace", str(workspace.root), "--html", page])


def _in_schema(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """The frame in a schema's columns; those that it lacks are null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
