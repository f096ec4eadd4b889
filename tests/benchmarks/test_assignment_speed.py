"""How fast units get their arms, without the tests' checks of hints and shapes:
``pytest -o addopts= tests/benchmarks/test_assignment_speed.py --benchmark-only``; on a busy machine with
``--benchmark-timer=time.process_time``, the time that the processor worked.

Many at once, per hash, and one at a request, in a book of five experiments in five layers with targeting.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from recsys.experiments.assignment import assign
from recsys.experiments.book import ExperimentBook, Treatment
from recsys.experiments.history import Running
from tests.recsys.experiments.small_experiment import experiment

UNITS = [f"user-{number}" for number in range(500_000)]
NUM_EXPERIMENTS = 5


@pytest.mark.parametrize("name", ["sha256", "growthbook_v2"])
def test_units_in_bulk(benchmark: Any, name: str) -> None:  # the plugin has no types
    about = experiment(hash=name, layer="l", layer_range=[0.0, 0.5])
    found = benchmark.pedantic(assign, args=(about, UNITS), rounds=5)
    assert len(found.arms) == len(UNITS)
    benchmark.extra_info["units_per_second"] = len(UNITS) / benchmark.stats.stats.median


def test_one_request(benchmark: Any) -> None:  # the plugin has no types
    started = datetime(2026, 1, 1, tzinfo=UTC)
    layered = {"targeting": "country in ['DE', 'AT']", "layer_range": [0.0, 0.9]}
    book = ExperimentBook(
        Running(experiment(f"e{number}", **layered), 1, 1.0, started) for number in range(NUM_EXPERIMENTS)
    )
    attributes, units = {"country": "AT", "device": "phone"}, UNITS[:1000]

    def treat() -> list[Treatment]:
        return [book.treatment(unit, "home", attributes) for unit in units]

    assert len(benchmark(treat)) == len(units)
    benchmark.extra_info["us_per_request"] = benchmark.stats.stats.median / len(units) * 1e6
