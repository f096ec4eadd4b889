"""Tests of the server around the services."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from recsys.call_ids import REQUEST_ID
from recsys.errors import ConfigError
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from serving.client import Client
from tests.serving.running import PATIENCE_SECONDS, running_server

SERVING = HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("workspace")) as where:
        yield where


def health_of(address: str, service: str) -> int:
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            HealthCheckRequest.SerializeToString,
            HealthCheckResponse.FromString,
        )
        return call(HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS).status


def watch_health(channel: grpc.Channel, service: str = "") -> "grpc._CallIterator[HealthCheckResponse]":
    call: grpc.UnaryStreamMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_stream(
        "/grpc.health.v1.Health/Watch", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    return call(HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "service", ["", "liveness", "readiness", "recsys.v1.RecommendationService", "recsys.v1.EventService"]
)
def test_health_is_told_as_a_whole_and_per_service(address: str, service: str) -> None:
    assert health_of(address, service) == SERVING


def test_health_of_an_unknown_service_is_not_found(address: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health_of(address, "recsys.v1.CoffeeService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "garbage", [bytes(range(256)) * 64, b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n", b"\x16\x03\x01"]
)
def test_garbage_on_the_port_leaves_it_healthy(address: str, garbage: bytes) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(garbage)
    assert health_of(address, "") == SERVING
    with Client(address, timeout_seconds=PATIENCE_SECONDS) as client:
        assert client.recommend(RecommendRequest(user_id="u")).results


@pytest.mark.parametrize(("sent", "comes_back"), [("page-42", True), ("not ok!", False), (None, False)])
def test_a_request_id_comes_back(address: str, sent: str | None, comes_back: bool) -> None:
    metadata = () if sent is None else ((REQUEST_ID, sent),)
    with grpc.insecure_channel(address) as channel:
        _, call = RecommendationServiceStub(channel).Recommend.with_call(
            RecommendRequest(user_id="u"), metadata=metadata, timeout=PATIENCE_SECONDS
        )
        received = dict(call.trailing_metadata())[REQUEST_ID]
    assert (received == sent) == comes_back
    assert received


def reflected_services(channel: grpc.Channel) -> set[str]:
    """Names of the services that reflection tells."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    [response] = stub.ServerReflectionInfo(iter([request]), timeout=PATIENCE_SECONDS)
    return {service.name for service in response.list_services_response.service}


def test_reflection_is_off_unless_asked_for(address: str, tmp_path: Path) -> None:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        reflected_services(channel)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with running_server(tmp_path, reflection=True) as where, grpc.insecure_channel(where) as channel:
        names = reflected_services(channel)
    assert {"recsys.v1.EventService", "recsys.v1.RecommendationService"} <= names


def test_a_port_in_use_is_reported(address: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="port free"),
        running_server(tmp_path, port=int(address.split(":")[1])),
    ):
        pass


def test_overload_is_refused_at_once(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, max_concurrent_requests=1) as where,
        grpc.insecure_channel(where) as channel,
    ):
        watch = watch_health(channel)
        assert next(iter(watch)).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health_of(where, "")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        watch.cancel()


def test_watchers_are_told_that_the_server_stops(tmp_path: Path) -> None:
    with running_server(tmp_path) as where:
        channel = grpc.insecure_channel(where)
        watch = watch_health(channel)
        assert next(iter(watch)).status == SERVING
    with channel:
        assert next(iter(watch)).status == HealthCheckResponse.NOT_SERVING


def test_a_draining_server_is_alive_and_answers_but_is_not_ready(tmp_path: Path) -> None:
    with ExitStack() as stack:
        where = stack.enter_context(running_server(tmp_path, drain_seconds=1.0))
        channel = grpc.insecure_channel(where)
        watch = watch_health(channel, "readiness")
        assert next(iter(watch)).status == SERVING
        stopping = threading.Thread(target=stack.pop_all().close)
        stopping.start()
        assert next(iter(watch)).status == HealthCheckResponse.NOT_SERVING
        assert health_of(where, "liveness") == SERVING
        assert health_of(where, "") == HealthCheckResponse.NOT_SERVING
        with Client(where, timeout_seconds=PATIENCE_SECONDS) as client:
            assert client.recommend(RecommendRequest(user_id="u")).results
        stopping.join(PATIENCE_SECONDS)
        channel.close()
        assert not stopping.is_alive()


def test_old_connections_are_closed_without_failing_a_call(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, max_connection_age_seconds=0.2) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert client.recommend(RecommendRequest(user_id="u")).results
