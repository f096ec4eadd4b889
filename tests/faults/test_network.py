"""The network between a shop and its recommendations: cut, slow, resetting, one byte at a time."""

import asyncio
import statistics
import time
from contextlib import AsyncExitStack, ExitStack

import grpc

from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from recsys.workspace import Workspace
from serving.client import AsyncClient, Connection
from tests.faults.conftest import Note, Serve
from tests.faults.fault_proxy import fault_proxy
from tests.faults.load import Outcomes, steady
from tests.faults.network import cable, needs_namespaces
from tests.faults.processes import server_process, until

REQUEST = RecommendRequest(user_id="coffee-user1", page_size=5)
DEADLINE = 0.3
CONNECTIONS = 8
"""Each with about one call at a time: a reset ends all calls of its connection."""


@needs_namespaces
def test_t23_a_partition_costs_the_deadline_and_is_over_when_it_is(shop: Workspace, figure: Note) -> None:
    with cable() as wire:
        flags = (f"--host={wire.server}", "--port=50051", "--clock=replay")
        with server_process(shop, shop.root, *flags, prefix=wire.prefix) as server:
            channel = grpc.insecure_channel(f"{wire.server}:50051")
            stub = RecommendationServiceStub(channel)
            until(lambda: answers(stub), what="the first answer")
            taken = []
            wire.pull()
            for _ in range(5):
                started = time.monotonic()
                assert not answers(stub)
                taken.append((time.monotonic() - started - DEADLINE) * 1e3)
            wire.plug()
            healed = until(lambda: answers(stub), 20, "an answer after the partition")
            channel.close()
            assert server.is_running()
    assert max(taken) < 500
    figure("T23", "over the deadline of 300 ms in a partition", max(taken), "ms", "<= 20")
    figure("T23", "answered after the partition", healed, "s", "first call")


def answers(stub: RecommendationServiceStub) -> bool:
    """Whether a call is answered within its deadline."""
    try:
        return len(stub.Recommend(REQUEST, timeout=DEADLINE).results) == 5
    except grpc.RpcError as error:
        if error.code() not in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}:
            raise
        return False


def test_t24_slow_resetting_and_crumbling_connections_change_no_answer(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    patient = {"RECSYS_STATE_TIMEOUT_MS": "5000"}
    with serve(shop, shop.root, **patient) as server, server.client() as direct:
        expected = [one.item_id for one in direct.recommend(REQUEST).results]
        host, port = server.address.split(":")
        with ExitStack() as stack:
            proxies = [
                stack.enter_context(fault_proxy((host, int(port)), seed)) for seed in range(CONNECTIONS)
            ]
            for proxy in proxies:
                proxy.weather.latency_seconds = 0.05  # 100 ms there and back
                proxy.weather.one_byte = True
            wrong: list[object] = []

            async def scenario() -> Outcomes:
                async with AsyncExitStack() as opened:
                    clients = [
                        await opened.enter_async_context(
                            AsyncClient(Connection(proxy.address, timeout_seconds=10))
                        )
                        for proxy in proxies
                    ]

                    async def ask(number: int) -> object:
                        answer = await clients[number % CONNECTIONS].recommend(REQUEST)
                        if [one.item_id for one in answer.results] != expected:
                            wrong.append(answer)
                        return answer

                    await steady(ask, 8, 1)
                    for proxy in proxies:
                        proxy.weather.reset_share = 0.015  # of the chunks: about one for twenty calls
                    return await steady(ask, 15, 8)

            before = server.metric("recsys_calls_total", method=METHOD)
            outcomes = asyncio.run(scenario())
            served = server.metric("recsys_calls_total", method=METHOD) - before - 8
            resets = sum(proxy.num_resets for proxy in proxies)
    assert not wrong
    assert outcomes.statuses() == {"OK": len(outcomes.calls)}
    figure("T24", "connections reset", resets, "", "")
    figure("T24", "resets over calls", 100 * resets / len(outcomes.calls), "%", "~ 5")
    figure("T24", "wrong answers", len(wrong), "", "0")
    figure("T24", "calls answered", 100 * len(outcomes.ok().calls) / len(outcomes.calls), "%", "100")
    figure("T24", "calls served over calls asked", served / len(outcomes.calls), "", "<= 1.1")
    figure("T24", "median", statistics.median(c.seconds for c in outcomes.calls) * 1e3, "ms", "")


METHOD = "/recsys.v1.RecommendationService/Recommend"
