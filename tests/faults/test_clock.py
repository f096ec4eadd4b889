"""Clocks that jump, and events from the future and from 1970."""

import math
import time
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from tests.faults.conftest import Note
from tests.faults.processes import ServerProcess, server_process
from tests.faults.shim import build, needs_compiler

DAY, HOUR = 86_400, 3_600


def purchase(event_id: str, seconds: float | None) -> Event:
    """A purchase at a time, seconds since the epoch."""
    event = Event(event_id=event_id, event_type="purchase", user_id="coffee-user1", item_id="coffee-1")
    if seconds is not None:
        event.event_time.CopyFrom(Timestamp(seconds=int(seconds)))
    return event


def status_of(server: ServerProcess, event: Event) -> str:
    with server.client() as client:
        [result] = client.record_events([event])
    return EventStatus.Name(result.status).removeprefix("EVENT_STATUS_")


def is_sound(server: ServerProcess) -> bool:
    """Whether every placement-independent number of an answer is finite, and the page full."""
    with server.client(5) as client:
        answer = client.recommend(RecommendRequest(user_id="coffee-user1", page_size=5, explain=True))
    scores = [one.score for one in answer.results]
    return len(scores) == 5 and all(math.isfinite(score) for score in scores)


@needs_compiler
def test_t25_a_clock_that_jumps_and_times_out_of_the_world_break_no_number(
    shop: Workspace, tmp_path: Path, figure: Note
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0", encoding="ascii")
    shim: dict[str, Any] = {"LD_PRELOAD": str(build(tmp_path)), "RECSYS_SHIM_CLOCK": str(offset)}
    flags = ("--port=0", "--clock=wall")
    num_sound = 0
    with server_process(shop, tmp_path / "server", *flags, **shim) as server:
        now = time.time()
        assert status_of(server, purchase("now", None)) == "ACCEPTED"
        assert status_of(server, purchase("ahead", now + 2 * HOUR)) == "REJECTED"
        assert status_of(server, purchase("1970", 0)) == "ACCEPTED"
        assert status_of(server, purchase("before-1970", -5)) == "REJECTED"
        priced = purchase("a price that is no number", None)
        priced.price = math.nan
        assert status_of(server, priced) == "REJECTED"
        for jump in (DAY, -HOUR, 400 * DAY, 0):
            offset.write_text(str(jump), encoding="ascii")
            assert status_of(server, purchase(f"at {jump}", None)) == "ACCEPTED"
            assert status_of(server, purchase(f"long ago {jump}", now - 700 * DAY)) == "ACCEPTED"
            started = time.monotonic()
            for _ in range(5):
                assert is_sound(server)
                num_sound += 1
            assert time.monotonic() - started < 20  # no timeout counts by the wall's clock
        assert server.metric("recsys_state_breaker_open") == 0
    figure("T25", "answers with finite numbers while the clock jumped", num_sound, "", "20")
