"""Tests of the clients."""

import asyncio
import inspect
import json
from collections.abc import Iterator

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
    retried = {name["service"] for method in config["methodConfig"] for name in method["name"]}
    assert retried == {"recsys.v1.RecommendationService"}
    assert config["retryThrottling"]["maxTokens"]
