"""Tests of the whole process: starts, stops, kills and a store that fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from recsys.event_log import EventLog
from recsys.schema import EVENT_TYPE_CODES
from recsys.user_state import UserState
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.v1.types_pb2 import ServiceLevel
from recsys.workspace import Workspace
from serving.client import Client
from serving.embedded_store import embedded_store
from serving.event import event_frame
from tests.serving.running import PATIENCE_SECONDS, first_item, running_server
from tests.serving.small_shop import ITEM_IDS, NOON, SmallPipeline, make_event

PROGRAM = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from recsys.cli import configure_logging
from recsys.workspace import Workspace
from serving.bootstrap import serve_until_stopped
from serving.settings import load_settings
from tests.serving.small_shop import SmallPipeline
configure_logging("ERROR")
settings = load_settings(port=0, state_timeout_ms=10000, apply_timeout_ms=10000)
asyncio.run(serve_until_stopped(
    Workspace(Path(sys.argv[1])), settings, SmallPipeline(), (), lambda port: print(port, flush=True)
))
"""


def process_id(url: str) -> int:
    with redis.Redis.from_url(url) as admin:
        return int(admin.info("server")["process_id"])


def test_an_acknowledged_event_survives_a_kill_of_the_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        with Client(f"127.0.0.1:{port}", timeout_seconds=PATIENCE_SECONDS) as client:
            [result] = client.record_events(
                [Event(event_id="kept", event_type="purchase", user_id="u", item_id="eggs")]
            )
            server.kill()
    assert result.status == EventStatus.EVENT_STATUS_ACCEPTED
    pipeline = SmallPipeline()
    with (
        running_server(tmp_path, pipeline) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        assert first_item(client, "u") == "eggs"
        assert [item_id for item_id, _, _ in pipeline.recorded] == ["eggs"]
        event = Event(event_id="kept", event_type="purchase", user_id="u", item_id="eggs")
        assert client.record_events([event])[0].status == EventStatus.EVENT_STATUS_DUPLICATE


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(tmp_path: Path, signal_number: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        with Client(f"127.0.0.1:{port}", timeout_seconds=PATIENCE_SECONDS) as client:
            client.record_events([Event(event_id="e", event_type="view", user_id="u", item_id="eggs")])
        server.send_signal(signal_number)
        assert server.wait(PATIENCE_SECONDS) == 0
    assert EventLog(Workspace(tmp_path).events).event_ids().to_list() == ["e"]


def test_a_store_that_dies_makes_answers_simpler_and_loses_no_event(tmp_path: Path) -> None:
    with (
        embedded_store() as url,
        running_server(tmp_path, redis_url=url, apply_timeout_ms=50) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        event = Event(event_id="before", event_type="purchase", user_id="u", item_id="eggs")
        client.record_events([event])
        os.kill(process_id(url), signal.SIGKILL)
        for _ in range(8):
            response = client.recommend(RecommendRequest(user_id="u"))
            assert [result.item_id for result in response.results] == list(ITEM_IDS)
            assert list(response.degraded_reasons) == ["state_unavailable"]
            assert response.service_level == ServiceLevel.SERVICE_LEVEL_POPULAR
        event = Event(event_id="after", event_type="purchase", user_id="u", item_id="dates")
        assert client.record_events([event])[0].status == EventStatus.EVENT_STATUS_ACCEPTED
    with (
        running_server(tmp_path) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        assert first_item(client, "u") == "dates"


def test_a_store_that_hangs_costs_an_answer_no_more_than_its_timeout(tmp_path: Path) -> None:
    with embedded_store() as url:
        server = process_id(url)
        with (
            running_server(tmp_path, redis_url=url, state_timeout_ms=20, store_timeout_ms=200) as where,
            Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
        ):
            os.kill(server, signal.SIGSTOP)
            started = time.monotonic()
            responses = [client.recommend(RecommendRequest(user_id="u")) for _ in range(20)]
            elapsed_seconds = time.monotonic() - started
            os.kill(server, signal.SIGCONT)
    assert all(list(response.degraded_reasons) == ["state_unavailable"] for response in responses)
    assert elapsed_seconds < 5.0  # the client's own retries would take as long for every single call


def test_an_answer_sees_events_that_are_ahead_of_the_clock(tmp_path: Path) -> None:
    """A state's latest event may be later than the clock after a restart in replay."""
    state = UserState(SmallPipeline().config.state.half_lives_days)
    state.apply("dates", EVENT_TYPE_CODES["purchase"], NOON + 999, is_purchase=True, max_rows=10)
    EventLog(Workspace(tmp_path).events).append(event_frame([make_event(time_ms=0)]), "history")
    pipeline = SmallPipeline()
    with (
        running_server(tmp_path, pipeline, states=[("u", state)], clock="replay") as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.recommend(RecommendRequest(user_id="u"))
    assert pipeline.queries[0].as_of_ms == NOON + 1000
