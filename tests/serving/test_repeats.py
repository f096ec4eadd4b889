"""Tests of what the clients repeat beyond what gRPC does."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from recsys.call_ids import CALL_ID_PREFIX, REQUEST_ID
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest, StreamRecommendRequest
from serving.client import AsyncClient, Client, Connection
from serving.repeats import Budget, CallOptions, ClientClosedError, Repeats
from tests.serving.running import PATIENCE_SECONDS

_OPTIONS = CallOptions(timeout=PATIENCE_SECONDS, metadata=())


class Breaking:
    """A server whose answers break off after their first header."""

    def __init__(self, times: int) -> None:
        self.times = times
        """How many of the next answers do."""
        self.num_calls = 0
        self.request_ids: list[object] = []
        """Of the calls, in order."""
        self.header_came = threading.Event()
        """To be set before an answer breaks off."""
        self.header_came.set()

    def answer(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        self.num_calls += 1
        self.request_ids.append(dict(context.invocation_metadata()).get(REQUEST_ID))
        context.send_initial_metadata(())
        if self.num_calls <= self.times:
            self.header_came.wait(PATIENCE_SECONDS)
            context.abort(grpc.StatusCode.UNAVAILABLE, "broke off")
        return b""

    def handler(self, service: str, method: str) -> grpc.GenericRpcHandler:
        unary: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self.answer)
        return grpc.method_handlers_generic_handler(f"recsys.v1.{service}", {method: unary})


@contextmanager
def breaking(times: int) -> Iterator[tuple[Breaking, Connection]]:
    made, server = Breaking(times), grpc.server(ThreadPoolExecutor(1))
    services = {"RecommendationService": "Recommend", "EventService": "RecordEvents"}
    server.add_generic_rpc_handlers([made.handler(*one) for one in services.items()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield made, Connection(f"127.0.0.1:{port}", timeout_seconds=PATIENCE_SECONDS)
    finally:
        server.stop(None).wait()


def test_grpc_alone_repeats_no_answer_that_had_begun() -> None:
    with breaking(1) as (server, connection), connection.channel() as channel:
        server.header_came.clear()
        # as a stream, which shows its header early
        method: Any = channel.unary_stream("/recsys.v1.RecommendationService/Recommend")
        call = method(b"", timeout=PATIENCE_SECONDS)
        call.initial_metadata()
        server.header_came.set()
        with pytest.raises(grpc.RpcError, match="broke off"):
            list(call)
        assert server.num_calls == 1


def test_both_clients_read_again_what_broke_off() -> None:
    async def converse(connection: Connection) -> None:
        async with AsyncClient(connection) as client:
            await client.recommend(RecommendRequest(user_id="u"))

    with breaking(2) as (server, connection):
        asyncio.run(converse(connection))
        assert server.num_calls == 3
    with breaking(2) as (server, connection), Client(connection) as client:
        client.recommend(RecommendRequest(user_id="u"))
        assert server.num_calls == 3


def test_all_attempts_of_a_call_have_one_id_and_no_other_call_has_it() -> None:
    with breaking(2) as (server, connection), Client(connection) as client:
        client.recommend(RecommendRequest())
        client.recommend(RecommendRequest())
    first, again, once_more, other = server.request_ids
    assert first == again == once_more != other
    assert str(first).startswith(CALL_ID_PREFIX)


def test_a_closed_client_says_that_it_is_closed() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    calls: list[Callable[[], object]] = [
        lambda: client.recommend(RecommendRequest()),
        lambda: client.upsert_items([]),
        lambda: list(client.stream_recommend(StreamRecommendRequest())),
    ]
    for call in calls:
        with pytest.raises(ClientClosedError, match="client is closed; expected an open one"):
            call()

    async def scenario() -> None:
        client = AsyncClient("127.0.0.1:1")
        await client.close()
        with pytest.raises(ClientClosedError):
            await client.recommend(RecommendRequest())
        with pytest.raises(ClientClosedError):
            await client.delete_items(["a"])

    asyncio.run(scenario())


def test_a_call_whose_client_is_closed_meanwhile_says_so() -> None:
    with breaking(1) as (server, connection):
        server.header_came.clear()
        client = Client(connection)
        threading.Thread(target=_close_when_called, args=(server, client)).start()
        with pytest.raises(ClientClosedError):
            client.recommend(RecommendRequest())
        server.header_came.set()


def _close_when_called(server: Breaking, client: Client) -> None:
    while not server.num_calls:
        time.sleep(0.005)
    client.close()


def test_another_value_error_stays_what_it_is() -> None:
    def refusing(_request: object, **_: object) -> None:
        raise ValueError("metadata was invalid")

    with pytest.raises(ValueError, match=r"^metadata was invalid$"):
        Repeats().call(refusing, None, _OPTIONS, 1)


def test_events_with_ids_are_sent_again_and_others_are_not() -> None:
    with breaking(4) as (server, connection), Client(connection) as client:
        client.record_events([Event(event_id="one"), Event(event_id="two")])
        assert server.num_calls == 5
    with breaking(1) as (server, connection), Client(connection) as client:
        with pytest.raises(grpc.RpcError):
            client.record_events([Event(event_id="one"), Event()])
        assert server.num_calls == 1


def test_what_breaks_off_for_ever_ends_with_its_error() -> None:
    with breaking(99) as (server, connection), Client(connection) as client:
        with pytest.raises(grpc.RpcError, match="broke off"):
            client.record_events([Event(event_id="one")])
        assert server.num_calls == 5


class _Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class _Failing:
    """Stands for a method of a stub that always fails in the same way."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.code = code
        self.timeouts: list[float] = []

    def __call__(self, _request: object, *, timeout: float, metadata: tuple[tuple[str, str], ...]) -> None:
        assert dict(metadata)[REQUEST_ID].startswith(CALL_ID_PREFIX)
        self.timeouts.append(timeout)
        raise _Failed(self.code)


def test_a_refusal_is_not_repeated() -> None:
    for code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED):
        refusing = _Failing(code)
        with pytest.raises(_Failed):
            Repeats().call(refusing, None, _OPTIONS, 4)
        assert len(refusing.timeouts) == 1


def test_a_call_that_a_stopping_server_cancels_is_made_again() -> None:
    cancelling = _Failing(grpc.StatusCode.CANCELLED)
    with pytest.raises(_Failed):
        Repeats().call(cancelling, None, _OPTIONS, 2)
    assert len(cancelling.timeouts) == 3


def test_all_attempts_share_one_deadline() -> None:
    failing = _Failing()
    with pytest.raises(_Failed):
        Repeats().call(failing, None, CallOptions(timeout=0.2, metadata=()), 99)
    assert failing.timeouts[0] == 0.2
    assert failing.timeouts == sorted(failing.timeouts, reverse=True)
    assert failing.timeouts[-1] >= 0


def test_an_outage_uses_the_budget_up_and_answers_earn_it_again() -> None:
    repeats, failing = Repeats(Budget(most=3, per_answer=0.5)), _Failing()
    for _ in range(3):
        with pytest.raises(_Failed):
            repeats.call(failing, None, _OPTIONS, 2)
    assert len(failing.timeouts) == 3 + 3
    for _ in range(2):
        repeats.call(lambda _request, **_options: None, None, _OPTIONS, 2)
    with pytest.raises(_Failed):
        repeats.call(failing, None, _OPTIONS, 2)
    assert len(failing.timeouts) == 3 + 3 + 2


def test_threads_do_not_spend_a_budget_twice() -> None:
    budget, won = Budget(most=50), list[bool]()
    threads = [
        threading.Thread(target=lambda: won.extend(budget.spend() for _ in range(20))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 50
