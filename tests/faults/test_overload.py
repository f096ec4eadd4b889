"""More than can be done: refused cheaply, by priority, and over at once when it is over; also a stop under
load."""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from recsys.event_log import EventLog
from recsys.v1.event_service_pb2 import Event, RecordEventsRequest
from recsys.v1.event_service_pb2_grpc import EventServiceStub
from recsys.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from recsys.workspace import Workspace
from serving.client import SERVICE_CONFIG, AsyncClient, Connection
from serving.health import check
from tests.conftest import Trained
from tests.faults.conftest import Note, Serve, copy_of
from tests.faults.fault_proxy import fault_proxy
from tests.faults.load import Outcomes, steady
from tests.faults.processes import until

USERS = [f"{group}-user{number}" for group in ("coffee", "garden", "music") for number in range(6)]

REFUSALS = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
"""By the server's limit, and by that of a connection, which gRPC itself keeps."""


def requests_of(client: AsyncClient) -> Callable[[int], Awaitable[object]]:
    return lambda number: client.recommend(RecommendRequest(user_id=USERS[number % len(USERS)], page_size=5))


async def capacity(client: AsyncClient, seconds: float = 2.5) -> float:
    """Calls per second that four callers get answered, one after the other each."""
    done, ask = 0, requests_of(client)
    end = asyncio.get_running_loop().time() + seconds

    async def caller() -> None:
        nonlocal done
        while asyncio.get_running_loop().time() < end:
            await ask(done)
            done += 1

    await asyncio.gather(*(caller() for _ in range(4)))
    return done / seconds


def test_t06_at_three_times_the_load_the_server_does_as_much_as_before(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    async def scenario(address: str) -> None:
        async with AsyncClient(Connection(address, timeout_seconds=1.0)) as client:
            await capacity(client, 1)
            most = await capacity(client)
            easy = await steady(requests_of(client), 0.8 * most, 3)
            heavy = await steady(requests_of(client), 3 * most, 6)
            await asyncio.sleep(1)
            after = await steady(requests_of(client), 0.3 * most, 2)
        goodput = len(heavy.between(1, 6).ok().calls) / 5
        assert set(heavy.statuses()) <= REFUSALS | {"OK", "DEADLINE_EXCEEDED"}
        assert all(call.num_results == 5 for call in heavy.ok().calls)
        assert goodput > most / 4  # on any machine; what is aimed at stands in the table
        late = after.between(1, 2)
        assert late.statuses() == {"OK": len(late.calls)}
        assert late.levels() == {"FULL": len(late.calls)}
        figure("T6", "capacity", most, "calls/s", "")
        figure("T6", "goodput at 3x", 100 * goodput / most, "% of capacity", ">= 90")
        figure("T6", "p99 of accepted calls at 3x", heavy.between(1, 6).ok().quantile_ms(0.99), "ms", "")
        figure("T6", "p99 at 0.8x", easy.ok().quantile_ms(0.99), "ms", "")
        ratio = heavy.between(1, 6).ok().quantile_ms(0.99) / easy.ok().quantile_ms(0.99)
        figure("T6", "p99 at 3x over p99 at 0.8x", ratio, "", "<= 2")
        refused = Outcomes([c for c in heavy.calls if c.status in REFUSALS])
        if refused.calls:
            figure("T6", "refused after, median", refused.quantile_ms(0.5), "ms", "")

    with serve(shop, shop.root) as server:
        asyncio.run(scenario(server.address))
        assert server.is_running()


def test_t06_what_a_shopper_waits_for_goes_before_what_is_fetched_ahead(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    async def scenario(address: str) -> dict[str, Outcomes]:
        options = Connection(address)._options
        async with AsyncClient(address, timeout_seconds=1) as client:
            most = await capacity(client, 1.5)
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            stub = RecommendationServiceStub(channel)

            def asking(priority: str) -> Callable[[int], Awaitable[object]]:
                async def ask(number: int) -> RecommendResponse:
                    return await stub.Recommend(
                        RecommendRequest(user_id=USERS[number % len(USERS)], page_size=5),
                        timeout=1,
                        metadata=(("x-recsys-priority", priority),),
                    )

                return ask

            found = await asyncio.gather(
                steady(asking("interactive"), 0.5 * most, 5),
                steady(asking("prefetch"), 1.25 * most, 5),
                steady(asking("batch"), 1.25 * most, 5),
            )
        return dict(zip(("interactive", "prefetch", "batch"), found, strict=True))

    with serve(shop, shop.root) as server:
        found = asyncio.run(scenario(server.address))
    shares = {
        name: 100 * len(calls.between(1, 5).ok().calls) / len(calls.between(1, 5).calls)
        for name, calls in found.items()
    }
    assert shares["interactive"] > shares["prefetch"] >= shares["batch"]
    for name, share in shares.items():
        figure("T6", f"{name} calls answered at 3x", share, "%", ">= 99.4" if name == "interactive" else "")


def test_t01_a_stop_under_load_fails_no_call(
    trained: Trained, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    shops = [copy_of(trained.workspace, tmp_path / str(number)) for number in range(2)]
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(shop, shop.root, RECSYS_DRAIN_SECONDS="0.3")) for shop in shops]
        address = "ipv4:" + ",".join(server.address for server in servers)
        acknowledged: set[str] = set()

        async def scenario() -> Outcomes:
            async with (
                AsyncClient(Connection(address, timeout_seconds=10)) as client,
                grpc.aio.insecure_channel(
                    address, options=[("grpc.service_config", SERVICE_CONFIG)]
                ) as channel,
            ):
                events = EventServiceStub(channel)

                async def ask(number: int) -> object:
                    if number % 10:
                        return await requests_of(client)(number)
                    return await record(events, f"t1-{number}", acknowledged)

                rate = min(200.0, 0.3 * await capacity(client, 1.5))  # one server has to do for all
                load, *_ = await asyncio.gather(steady(ask, rate, 5), stop())
            figure("T1", "calls per second while one of two servers stops", rate, "", "200")
            return load

        async def stop() -> None:
            await asyncio.sleep(2)
            servers[0].send(signal.SIGTERM)

        outcomes = asyncio.run(scenario())
        assert servers[0].wait() == 0
        assert check(servers[1].address, "readiness") == "SERVING"
        servers[1].send(signal.SIGTERM)
        assert servers[1].wait() == 0
    assert outcomes.statuses() == {"OK": len(outcomes.calls)}
    logged = {event_id for shop in shops for event_id in EventLog(shop.events).event_ids()}
    assert acknowledged
    assert acknowledged <= logged
    figure("T1", "calls", len(outcomes.calls), "", "")
    figure("T1", "calls that failed after retries", len(outcomes.calls) - len(outcomes.ok().calls), "", "0")


async def record(stub: "object", event_id: str, acknowledged: set[str]) -> object:
    """Record an event, and again with the same id while no server answers."""
    event = Event(event_id=event_id, event_type="view", user_id="coffee-user1", item_id="coffee-1")
    for _ in range(20):
        try:
            answer = await stub.RecordEvents(RecordEventsRequest(events=[event]), timeout=5)  # type: ignore[attr-defined]
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)
        else:
            acknowledged.add(event_id)
            return answer
    raise AssertionError("no server took the event")


def test_t07_idle_slow_and_half_open_connections_cost_nobody_else_anything(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serve(shop, shop.root, RECSYS_KEEPALIVE_SECONDS="2"))
        host, port = server.address.split(":")
        proxy = stack.enter_context(fault_proxy((host, int(port))))
        with server.client() as client:
            client.recommend(RecommendRequest(user_id=USERS[0]))
            before, sockets_before = server.rss_bytes(), num_connections(int(port))
            idle = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(200)]
            for one in idle[::2]:
                one.sendall(b"PRI * HTTP/2.0\r\n")  # and never the rest
            half = stack.enter_context(grpc.insecure_channel(proxy.address))
            RecommendationServiceStub(half).Recommend(RecommendRequest(user_id=USERS[0]), timeout=20)
            proxy.weather.hangs, hung = True, time.monotonic()

            async def beside() -> Outcomes:
                async with AsyncClient(Connection(server.address, timeout_seconds=5)) as others:
                    return await steady(requests_of(others), 20, 3)

            outcomes = asyncio.run(beside())
            assert outcomes.statuses() == {"OK": len(outcomes.calls)}
            grown = (server.rss_bytes() - before) / 1e6
            assert grown < 100
            for one in idle:
                one.close()
            until(
                lambda: num_connections(int(port)) <= sockets_before, 25, "the end of half-open connections"
            )
            seconds = time.monotonic() - hung
    figure("T7", "memory for 200 idle connections", grown, "MB", "<= 100")
    figure("T7", "half-open connections closed, with keepalive of 2 s (default: 15 s)", seconds, "s", "<= 30")


def num_connections(port: int) -> int:
    """Connections that a server on a port of the loopback address has."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    return sum(local.endswith(f":{port:04X}") and state == "01" for _, local, _, state, *_ in rows)


def test_t06_short_of_memory_the_server_refuses_instead_of_dying(shop: Workspace, serve: Serve) -> None:
    with serve(shop, shop.root, RECSYS_MEMORY_LIMIT_BYTES=str(64 << 20)) as server, server.client() as client:
        with pytest.raises(grpc.RpcError) as caught:
            until(lambda: not client.recommend(RecommendRequest(user_id=USERS[0])).results, 10)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        sent = {(one.key, str(one.value)) for one in caught.value.trailing_metadata()}
        assert ("grpc-retry-pushback-ms", "250") in sent
        assert check(server.address, "liveness") == "SERVING"
        assert server.is_running()
