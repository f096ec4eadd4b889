"""Tests of what carries events and states on while a server runs."""

import time
from datetime import timedelta
from pathlib import Path

from recsys.event_log import EventLog
from recsys.schema import EVENT_TYPE_CODES
from recsys.user_state import UserState
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from tests.serving.running import PATIENCE_SECONDS, first_item, running_server
from tests.serving.small_shop import NOON, SmallPipeline


def test_states_of_the_log_are_served(tmp_path: Path) -> None:
    state = UserState(SmallPipeline().config.state.half_lives_days)
    state.apply("dates", EVENT_TYPE_CODES["purchase"], NOON, is_purchase=True, max_rows=10)
    with (
        running_server(tmp_path, states=[("u", state)]) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        assert first_item(client, "u") == "dates"


def test_a_store_that_is_away_at_the_start_makes_answers_simpler(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, redis_url="redis://127.0.0.1:1") as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        response = client.recommend(RecommendRequest(user_id="u"))
    assert list(response.degraded_reasons) == ["state_unavailable"]


def test_events_reach_the_log_while_the_server_runs(tmp_path: Path) -> None:
    log = EventLog(Workspace(tmp_path).events)
    with (
        running_server(tmp_path, compact_every=timedelta(milliseconds=20)) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.record_events([Event(event_id="e", event_type="view", user_id="u", item_id="eggs")])
        until = time.monotonic() + PATIENCE_SECONDS
        while log.end_ms() is None:
            assert time.monotonic() < until, "nothing was moved into the log"
            time.sleep(0.01)
        client.record_events([Event(event_type="view", user_id="u", item_id="dates")])
        assert first_item(client, "u") in {"dates", "eggs"}
    assert log.event_ids().len() == 2
