"""Tests of the clock that a server reads."""

from pathlib import Path

from recsys.event_log import EventLog
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from serving.event import event_frame
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import NOON, SmallPipeline, make_event


def test_the_replay_clock_goes_on_where_the_log_ends(tmp_path: Path) -> None:
    EventLog(Workspace(tmp_path).events).append(event_frame([make_event(time_ms=NOON)]), "history")
    pipeline = SmallPipeline()
    with (
        running_server(tmp_path, pipeline, clock="replay") as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.record_events([Event(event_type="view", user_id="u", item_id="eggs")])
        client.recommend(RecommendRequest(user_id="u"))
    [query] = pipeline.queries
    assert query.user is not None
    assert NOON < query.user.latest_ms < query.as_of_ms < NOON + 60_000
