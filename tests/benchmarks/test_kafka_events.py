"""How many events per second one process hands to brokers, and one reader of a partition carries on.

``pip install ".[kafka]"``, ``pytest tests/benchmarks/test_kafka_events.py --benchmark-only``. The brokers are
librdkafka's mock cluster on this machine: the first figure is what the producer can, not what brokers can.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from recsys.config import StateConfig
from recsys.workspace import Workspace
from serving.embedded_store import embedded_store
from serving.event import Event
from serving.fillings import Fillings
from serving.kafka_partition import KafkaPartition, Record
from serving.kafka_record import encode, key_of
from serving.kafka_states import Past
from serving.settings import load_settings
from serving.state_store import StateStore
from serving.store_clients import connect

pytest.importorskip("confluent_kafka")
pytestmark = pytest.mark.timeout(600)

_NUM, _AT_ONCE, _USERS, _ITEMS = 10_000, 1000, 2500, 1000
_NOON = 1_700_000_000_000


def events() -> list[Event]:
    """As many as are timed, of users who come in turn."""
    return [
        Event(f"e{n}", "click", f"u{n % _USERS}", f"item-{n % _ITEMS}", _NOON + n, _NOON + n)
        for n in range(_NUM)
    ]


def batches() -> list[Sequence[Event]]:
    """The same, as callers send them."""
    everything = events()
    return [everything[start : start + _AT_ONCE] for start in range(0, _NUM, _AT_ONCE)]


def note(benchmark: BenchmarkFixture, started: float) -> None:
    """Events per second, and this process's processor time per event, which other programs disturb less."""
    assert benchmark.stats is not None
    rounds = benchmark.stats.stats.rounds
    benchmark.extra_info["events_per_second"] = round(_NUM / benchmark.stats.stats.median)
    benchmark.extra_info["cpu_us"] = round((time.process_time() - started) / rounds / _NUM * 1e6)


def test_events_acknowledged_by_brokers(benchmark: BenchmarkFixture) -> None:
    from serving.kafka_intake import KafkaIntake
    from tests.distributed.kafka_brokers import brokers

    started = time.process_time()
    with brokers() as found:
        settings = load_settings(
            kafka_servers=found.servers,
            kafka_topic=found.topic,
            redis_url="redis://unused",
            kafka_timeout_ms=60_000,
        )
        with closing(KafkaIntake(settings)) as intake:

            def send() -> None:
                for future in [intake.append(batch) for batch in batches()]:
                    future.result(60)

            benchmark.pedantic(send, rounds=3)  # type: ignore[no-untyped-call]  # upstream forgot its types
    note(benchmark, started)


def test_events_carried_into_states_and_log(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    records = [Record(n, key_of("t", event), encode(event)) for n, event in enumerate(events())]

    async def carry(url: str, root: Path) -> None:
        client = connect(url, 5000)
        store = StateStore(client, "t", StateConfig(), source="events/0")
        filling = Fillings(Workspace(root).state).begin()
        assert filling is not None
        filling.finish(filling.number, "here")
        partition = KafkaPartition(Workspace(root), "events", 0, tenant="t", store=store, past=Past((), ()))
        for start in range(0, _NUM, _AT_ONCE):
            partition.take(records[start : start + _AT_ONCE])
            await partition.apply(1)
        assert partition.move(1) == _NUM
        partition.close()
        await client.aclose()

    started = time.process_time()
    with embedded_store() as url:

        def run() -> None:
            asyncio.run(carry(url, tmp_path))

        benchmark.pedantic(run)  # type: ignore[no-untyped-call]  # upstream forgot its types
    note(benchmark, started)
