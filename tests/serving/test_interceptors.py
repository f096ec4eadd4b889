"""Tests of what happens around every call."""

import asyncio
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from structlog.testing import capture_logs

from recsys.errors import BundleError
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.call import Call
from serving.client import Client
from serving.interceptors import Recording
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, VERSION, SmallPipeline


def test_every_call_leaves_one_line_that_names_nobody(tmp_path: Path) -> None:
    with (
        capture_logs() as lines,
        running_server(tmp_path) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.record_events([Event(event_type="comment", user_id="alice", item_id="eggs", text="private")])
        client.recommend(RecommendRequest(user_id="alice", session_id="secret-visit"))
        with pytest.raises(grpc.RpcError):
            client.recommend(RecommendRequest(user_id="alice", page_size=-1))
    calls = [line for line in lines if line["event"] == "call"]
    assert [(line["method"].rpartition("/")[2], line["status"]) for line in calls] == [
        ("RecordEvents", "OK"),
        ("Recommend", "OK"),
        ("Recommend", "INVALID_ARGUMENT"),
    ]
    assert all(line["duration_ms"] >= 0 and line["request_id"] for line in calls)
    answered = ("home", "FULL", 5, VERSION)
    keys = ("placement", "service_level", "num_candidates", "model_version")
    assert tuple(calls[1][key] for key in keys) == answered
    assert calls[0]["events"] == {"ACCEPTED": 1}
    assert not any(word in str(lines) for word in ("alice", "private", "secret-visit", "eggs"))


def test_an_unexpected_error_is_logged_with_its_traceback_and_hidden_from_the_caller(tmp_path: Path) -> None:
    pipeline = SmallPipeline(failure=ZeroDivisionError("internal words"))
    with (
        capture_logs() as lines,
        running_server(tmp_path, pipeline) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
        pytest.raises(grpc.RpcError) as caught,
    ):
        client.recommend(RecommendRequest(user_id="u"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "internal words" not in str(caught.value)
    [line] = [line for line in lines if line["event"] == "call failed unexpectedly"]
    assert line["exc_info"]


def test_a_domain_error_gets_the_status_of_the_table(tmp_path: Path) -> None:
    pipeline = SmallPipeline(failure=BundleError("internal words"))
    with (
        running_server(tmp_path, pipeline) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
        pytest.raises(grpc.RpcError) as caught,
    ):
        client.recommend(RecommendRequest(user_id="u"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "internal words" not in str(caught.value)


def test_a_sample_of_the_access_log_keeps_every_failure(tmp_path: Path) -> None:
    with (
        capture_logs() as lines,
        running_server(tmp_path, access_log_sample=0.0) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.recommend(RecommendRequest(user_id="u"))
        with pytest.raises(grpc.RpcError):
            client.recommend(RecommendRequest(user_id="u", page_size=-1))
    assert [line["status"] for line in lines if line["event"] == "call"] == ["INVALID_ARGUMENT"]


def test_a_later_page_is_logged_as_one(tmp_path: Path) -> None:
    with (
        capture_logs() as lines,
        running_server(tmp_path) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        first = client.recommend(RecommendRequest(user_id="u", page_size=2))
        client.recommend(RecommendRequest(user_id="u", page_size=2, page_token=first.next_page_token))
    one, other = [line for line in lines if line["event"] == "call"]
    assert one["num_candidates"] == len(ITEM_IDS)
    assert (other["placement"], other["is_later_page"], other["model_version"]) == ("home", True, VERSION)
    assert "num_candidates" not in other


def test_an_observer_that_fails_fails_no_call() -> None:
    def fails(_call: Call) -> None:
        raise OSError(28, "No space left on device")

    told: list[Call] = []
    recording = Recording([fails, told.append])

    async def answer(request: object, _context: object) -> object:
        return request

    async def converse() -> list[object]:
        server = grpc.aio.server(interceptors=(recording,))
        say_handler: Any = grpc.unary_unary_rpc_method_handler(cast("Any", answer))
        handlers = {"Say": say_handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            say: Any = channel.unary_unary("/Echo/Say")
            answers = [await say(b"one"), await say(b"two")]
        await server.stop(None)
        return answers

    assert asyncio.run(converse()) == [b"one", b"two"]
    assert [call.status for call in told] == ["OK", "OK"]
    assert recording.num_unobserved == 2
