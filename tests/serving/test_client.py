"""Tests of the clients."""

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest

from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from serving.client import SERVICE_CONFIG, AsyncClient, Client, Connection
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server
from tests.serving.small_shop import ITEM_IDS


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("workspace")) as where:
        yield where


def test_both_clients_have_the_same_methods() -> None:
    def surface(client: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(m).parameters) for name, m in methods if name[0] != "_"}

    assert surface(Client) == surface(AsyncClient)


def test_the_asynchronous_client_calls_everything(address: str) -> None:
    async def converse() -> None:
        async with AsyncClient(address, timeout_seconds=PATIENCE_SECONDS) as client:
            event = Event(event_type="purchase", user_id="u", item_id="dates")
            [result] = await client.record_events([event])
            assert result.status == EventStatus.EVENT_STATUS_ACCEPTED
            requests = [RecommendRequest(user_id="u"), RecommendRequest(user_id="nobody")]
            own, popular = await asyncio.gather(*map(client.recommend, requests))
            assert own.results[0].item_id == "dates"
            assert [found.item_id for found in popular.results] == list(ITEM_IDS)
            ranked = await client.rank(RankRequest(user_id="u", item_ids=["eggs", "dates"]))
            assert [found.item_id for found in ranked.results] == ["dates", "eggs"]
            with pytest.raises(grpc.RpcError):
                await client.recommend(RecommendRequest())

    asyncio.run(converse())


def test_a_deadline_ends_a_call_that_nobody_answers() -> None:
    with Client(f"127.0.0.1:{free_port()}", timeout_seconds=0.2) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.recommend(RecommendRequest(user_id="u"))
        assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def test_a_token_is_never_shown() -> None:
    assert "hunter2" not in repr(Connection("localhost:1", token="hunter2"))


def test_reads_are_retried_and_events_are_not() -> None:
    config = json.loads(SERVICE_CONFIG)
    retried = [name for method in config["methodConfig"] for name in method["name"]]
    assert retried == [
        {"service": "recsys.v1.RecommendationService"},
        {"service": "recsys.v1.BlurbService", "method": "BatchGetBlurbs"},
    ]
    assert config["retryThrottling"]["maxTokens"]


class Recovering:
    """A server that is not ready for the first two calls of each method."""

    def __init__(self) -> None:
        self.num_calls: Counter[str] = Counter()

    async def answer(self, method: str, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        self.num_calls[method] += 1
        if self.num_calls[method] <= 2:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b""

    def handlers(self, service: str, *methods: str) -> grpc.GenericRpcHandler:
        def handler(method: str) -> "grpc.RpcMethodHandler[bytes, bytes]":
            async def call(_request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
                return await self.answer(method, context)

            return grpc.unary_unary_rpc_method_handler(cast("Any", call))

        return grpc.method_handlers_generic_handler(service, {method: handler(method) for method in methods})


def test_a_read_is_repeated_until_a_server_is_ready_and_an_event_without_id_is_sent_once() -> None:
    recovering = Recovering()

    async def converse() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (
                recovering.handlers("recsys.v1.RecommendationService", "Recommend", "Rank"),
                recovering.handlers("recsys.v1.EventService", "RecordEvents"),
            )
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with AsyncClient(f"127.0.0.1:{port}", timeout_seconds=PATIENCE_SECONDS) as client:
            await client.recommend(RecommendRequest(user_id="u"))
            await client.rank(RankRequest(user_id="u", item_ids=["eggs"]))
            with pytest.raises(grpc.RpcError) as caught:
                await client.record_events([Event(event_id="has one"), Event()])
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.stop(None)

    asyncio.run(converse())
    assert recovering.num_calls == {"Recommend": 3, "Rank": 3, "RecordEvents": 1}
