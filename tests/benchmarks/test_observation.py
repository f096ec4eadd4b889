"""What it costs to note a call down: ``pytest tests/benchmarks/test_observation.py --benchmark-only``."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from pytest_benchmark.fixture import BenchmarkFixture

from recsys.answer import RankedItem, RankedList, ServiceLevel
from recsys.cli import configure_logging
from serving.access import Access
from serving.access_log import AccessLog
from serving.call import Call, Observer
from serving.metrics import CallMetrics
from serving.tokens import digest, new_token
from serving.tracing import Tracing

RECOMMEND = "/recsys.v1.RecommendationService/Recommend"


@pytest.fixture
def log_to_nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr("sys.stderr", nowhere)
        configure_logging("INFO", "json")
        yield
    structlog.reset_defaults()


def made_call() -> Call:
    items = tuple(RankedItem(str(number), 1.0) for number in range(20))
    answer = RankedList(items, ServiceLevel.FULL, "20171204-20261125", ("unknown_user",), num_candidates=500)
    call = Call(
        RECOMMEND, (), "0af7651916cd43dd8448eb211c80319c", status="OK", placement="home", answer=answer
    )
    call.ended = call.started + 0.003
    call.stages += [("state", 0.0, 0.001), ("ranking", 0.001, 0.002), ("encode", 0.002, 0.0021)]
    return call


def traces() -> Observer:
    return Tracing(SimpleSpanProcessor(InMemorySpanExporter()))


@pytest.mark.parametrize("make", [AccessLog, lambda: CallMetrics(CollectorRegistry()), traces])
@pytest.mark.usefixtures("log_to_nowhere")
def test_an_observer(benchmark: BenchmarkFixture, make: Callable[[], Observer]) -> None:
    benchmark(make(), made_call())


def test_admission(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    tokens = [new_token() for _ in range(10)]
    entries = (
        f'[[tokens]]\nname = "n{number}"\nsha256 = "{digest(token)}"\ntenant = "default"\n'
        'roles = ["read"]\nrequests_per_second = 1e9\n'
        for number, token in enumerate(tokens)
    )
    (tmp_path / "tokens.toml").write_text("".join(entries))
    gate = Access(tmp_path / "tokens.toml", "default")
    benchmark(gate.admit, RECOMMEND, (("authorization", f"Bearer {tokens[5]}"),))
