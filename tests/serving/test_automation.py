"""Tests of the hook that a shop's bot detection speaks through."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import polars as pl
import pytest

from recsys.errors import ConfigError
from recsys.event_log import EventLog
from recsys.influence import AUTOMATED_PREFIX
from recsys.schema import EVENT_ID, USER_ID
from recsys.v1.event_service_pb2 import Event, EventStatus, RecordEventsRequest
from recsys.v1.event_service_pb2_grpc import EventServiceStub
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from recsys.workspace import Workspace
from serving.automation import AUTOMATED, USER_AGENT, AutomationSign
from serving.call import Call, current_call
from serving.settings import Settings
from tests.serving.running import PATIENCE_SECONDS, running_server

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
SIGNS = [
    ((AUTOMATED, "true"), True),
    ((AUTOMATED, "1"), True),
    ((AUTOMATED, "false"), False),
    ((USER_AGENT, CRAWLER), True),
    ((USER_AGENT, "HeadlessChrome/140"), True),
    ((USER_AGENT, BROWSER), False),
    (
        (USER_AGENT, "Mozilla/5.0 (Linux; Android 13; Cubot X70)"),
        True,
    ),  # a phone; the shop's pattern may differ
    (("user-agent", CRAWLER), False),  # of the caller, the shop's own frontend
]


@pytest.fixture
def call() -> Iterator[Call]:
    """A running call without metadata."""
    record = Call("/s/M", (), "id")
    token = current_call.set(record)
    yield record
    current_call.reset(token)


@pytest.mark.parametrize(("said", "is_automated"), SIGNS)
def test_the_edge_or_the_shoppers_user_agent_tells_a_machine(
    call: Call, said: tuple[str, str], is_automated: bool
) -> None:
    call.metadata = (("other", "x"), said)
    assert AutomationSign(Settings().automated_agents).is_seen() == is_automated


def test_outside_of_calls_and_without_a_pattern_nobody_is_a_machine(call: Call) -> None:
    call.metadata = ((USER_AGENT, CRAWLER),)
    assert not AutomationSign("").is_seen()
    current_call.set(None)
    assert not AutomationSign(".").is_seen()


def test_a_pattern_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="RECSYS_AUTOMATED_AGENTS"):
        AutomationSign("(bot")


def test_what_a_machine_does_is_kept_and_counts_for_nobody(tmp_path: Path) -> None:
    events = [
        Event(event_id=f"e{number}", event_type="purchase", user_id="u", visitor_id="v", item_id="eggs")
        for number in range(3)
    ]
    with running_server(tmp_path) as address, grpc.insecure_channel(address) as channel:
        request, sign = RecordEventsRequest(events=events), ((AUTOMATED, "true"),)
        found = EventServiceStub(channel).RecordEvents(request, metadata=sign, timeout=PATIENCE_SECONDS)
        assert {result.status for result in found.results} == {EventStatus.EVENT_STATUS_ACCEPTED}
        for who in ({"user_id": "u"}, {"visitor_id": "v"}):
            asked = RecommendRequest(**who)  # type: ignore[arg-type]  # ids
            answer = RecommendationServiceStub(channel).Recommend(asked, timeout=PATIENCE_SECONDS)
            assert answer.results[0].item_id == "apples", "as for somebody unknown"
    log = EventLog(Workspace(tmp_path).events)
    kept = log.scan().select(EVENT_ID, USER_ID).collect()
    assert kept.height == 3
    assert kept.select(pl.col(USER_ID).str.starts_with(AUTOMATED_PREFIX).all()).item()
    assert log.merges().is_empty(), "a machine logs nobody in"
