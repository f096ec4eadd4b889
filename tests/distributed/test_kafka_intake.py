"""A server whose events go to brokers: what callers are told, also when no broker answers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from recsys.errors import ConfigError, IntakeError
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import Client, Connection
from serving.embedded_store import embedded_store
from serving.kafka_intake import KafkaIntake
from serving.settings import Settings, load_settings
from tests.distributed.kafka_brokers import Brokers, brokers
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import make_event

DEADLINE_SECONDS = 10.0


def purchase(event_id: str) -> Event:
    return Event(event_id=event_id, event_type="purchase", user_id="u1", item_id="eggs")


@contextmanager
def served(root: Path) -> Iterator[tuple[Client, Brokers]]:
    """A client of a server with three brokers."""
    with (
        embedded_store() as store,
        brokers() as found,
        running_server(
            root, kafka_servers=found.servers, kafka_topic=found.topic, redis_url=store
        ) as address,
        Client(Connection(address, timeout_seconds=DEADLINE_SECONDS)) as client,
    ):
        yield client, found


def settings(**given: object) -> Settings:
    return load_settings(kafka_servers="127.0.0.1:1", redis_url="redis://127.0.0.1:1", **given)


def test_events_are_refused_in_time_while_brokers_are_away_and_answers_go_on(tmp_path: Path) -> None:
    with served(tmp_path) as (client, found):
        [first] = client.record_events([purchase("e1")])
        assert first.status == EventStatus.EVENT_STATUS_ACCEPTED
        found.stop()
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            client.record_events([purchase("e2")])
        assert time.monotonic() - started < DEADLINE_SECONDS
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert len(client.recommend(RecommendRequest(user_id="u1")).results) == 5
        found.go_on()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not taken(client, "e2"):
            assert time.monotonic() < deadline


def taken(client: Client, event_id: str) -> bool:
    try:
        [result] = client.record_events([purchase(event_id)])
    except grpc.RpcError:
        return False
    return result.status == EventStatus.EVENT_STATUS_ACCEPTED


def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    file = tmp_path / "options"
    file.write_text("queue.buffering.max.kbytes = 1\n")
    intake = KafkaIntake(settings(kafka_options=file))
    try:
        futures = [intake.append([make_event(f"e{number}")]) for number in range(50)]
        errors = [future.exception(PATIENCE_SECONDS) for future in futures]
    finally:
        intake.close()
    assert {type(error).__name__ for error in errors} == {"IntakeError", "OverloadError"}


def test_a_producer_that_closes_acknowledges_nothing_that_was_not() -> None:
    intake = KafkaIntake(settings(kafka_timeout_ms=500))
    before = intake.append([make_event("e1")])
    intake.close()
    for future in (before, intake.append([make_event("e2")])):
        assert isinstance(future.exception(PATIENCE_SECONDS), IntakeError)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sasl.pasword=hunter2", "sasl.pasword"),
        ("security.protocol=hunter2", "security.protocol"),
        ("acks=1", "line 1: acks is set by recsys"),
        ("hunter2", "line 1: expected name=value"),
    ],
)
def test_options_that_do_not_hold_are_named_and_their_values_are_not(
    tmp_path: Path, line: str, words: str
) -> None:
    file = tmp_path / "options"
    file.write_text(f"{line}\n")
    with pytest.raises(ConfigError) as caught:
        KafkaIntake(settings(kafka_options=file))
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_brokers_need_a_store_that_all_share() -> None:
    with pytest.raises(ConfigError, match="redis_url"):
        load_settings(kafka_servers="127.0.0.1:1")
