"""What callers get wrong, over a real channel: the documented status, and the fields by name."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from recsys.v1.event_service_pb2 import Event, EventStatus, RecordEventsRequest
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.v1.types_pb2 import View
from serving.client import Client
from tests.serving.fuzz import METHODS
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import SmallPipeline
from tests.serving.test_server import SERVING, health_of
from tests.serving.test_servicer import violated

_FIELDLESS = {method.name for method in METHODS if not method.input_type.fields}
"""Methods that read no text, so that none is wrong."""
PATHS = {method.name: f"/{method.containing_service.full_name}/{method.name}" for method in METHODS}
LONG = "x" * 257
BAD_VIEW: Any = -7


@pytest.fixture(scope="module")
def pipeline() -> SmallPipeline:
    return SmallPipeline()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, pipeline: SmallPipeline) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("workspace"), pipeline) as where:
        yield where
        assert health_of(where, "") == SERVING


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address, timeout_seconds=PATIENCE_SECONDS) as connected:
        yield connected


def refusal(
    address: str, method: str, raw: bytes, timeout: float = PATIENCE_SECONDS, **options: Any
) -> grpc.RpcError:
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as caught:
            call(raw, timeout=timeout, **options)
    return caught.value


def sent(address: str, message: Message) -> grpc.RpcError:
    method = type(message).__name__.removesuffix("Request")
    return refusal(address, PATHS[method], message.SerializeToString())


@pytest.mark.parametrize("name", ["user_id", "visitor_id", "session_id"])
@pytest.mark.parametrize("value", [LONG, "é" * 129, "x" * 100_000])
@pytest.mark.parametrize("request_type", [RecommendRequest, RankRequest])
def test_ids_of_shoppers_have_a_size(
    address: str, request_type: type[Message], name: str, value: str
) -> None:
    message = request_type(**({"user_id": "u"} | {name: value}))
    if isinstance(message, RankRequest):
        message.item_ids.append("eggs")
    error = sent(address, message)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 256 bytes" in violated(error)[name]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (RecommendRequest(user_id="u", context_item_ids=["eggs"] * 10_000), ["context_item_ids"]),
        (RecommendRequest(user_id="u", exclude_item_ids=["eggs"] * 10_000), ["exclude_item_ids"]),
        (RankRequest(user_id="u", item_ids=["eggs"] * 10_000), ["item_ids"]),
        (RankRequest(user_id="u", item_ids=["eggs"], context_item_ids=["x"] * 10_000), ["context_item_ids"]),
        (RankRequest(user_id="u", item_ids=["eggs", ""]), ["item_ids[1]"]),
        (RankRequest(user_id="u", item_ids=["eggs"], placement="attic"), ["placement"]),
        (RankRequest(user_id="u", item_ids=["eggs"], view=BAD_VIEW), ["view"]),
        (RecommendRequest(user_id="u", placement="x" * 100_000), ["placement"]),
        (RecommendRequest(user_id="u", placement="HOME"), ["placement"]),
        (RecommendRequest(user_id="u", page_size=-(2**31)), ["page_size"]),
        (RecommendRequest(user_id="u", view=BAD_VIEW), ["view"]),
        (RecommendRequest(user_id="u", filter="price < 5" + " " * 1000 + "x"), ["filter"]),
        (
            RecommendRequest(placement="attic", page_size=-1, view=BAD_VIEW, filter="("),
            ["placement", "view", "page_size", "filter"],
        ),
        (RecordEventsRequest(), ["events"]),
        (RecordEventsRequest(events=[Event()] * 10_000), ["events"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_every_field_that_breaks_a_rule_is_named(address: str, message: Message, fields: list[str]) -> None:
    error = sent(address, message)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(error)) == fields


@pytest.mark.parametrize(
    "message",
    [
        RecommendRequest(user_id="u", context_item_ids=["eggs"] * 100),
        RecommendRequest(user_id="u", exclude_item_ids=["eggs"] * 1000),
        RecommendRequest(user_id="é" * 128, session_id="s" * 256, page_size=2**31 - 1),
        RecommendRequest(user_id="u", view=View.VIEW_UNSPECIFIED),
        RecommendRequest(user_id="\x00\u202e' OR 1=1 --"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_limits_themselves_are_allowed(client: Client, message: RecommendRequest) -> None:
    client.recommend(message)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("price <", "filter"),
        ("(price < 5", "filter"),
        ("price < 5 AND", "filter"),
        ("price ~ 5", "filter"),
        ('title = "open', "filter"),
        ("price < cheap", "price"),
        ("available = 7", "available"),
        ("created_time > yesterday", "created_time"),
        ('category = "Shoes"', "category"),
        ("colour = red", "colour"),
        ("attributes = 3", "attributes"),
    ],
)
def test_a_filter_says_what_is_wrong_with_it(address: str, words: str, told: str) -> None:
    error = sent(address, RecommendRequest(user_id="u", filter=words))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    [(field, description)] = violated(error).items()
    assert field == "filter"
    assert told in field + description


def event(**fields: Any) -> Event:
    return Event(**({"event_type": "view", "user_id": "u", "item_id": "eggs"} | fields))


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (event(event_type=""), "event_type"),
        (event(event_type="VIEW"), "event_type"),
        (event(user_id=""), "user_id"),
        (event(user_id="\x1fv"), "user_id"),
        (event(item_id=""), "item_id"),
        (event(item_id="unicorn"), "item_id"),
        *(
            (event(**{name: LONG}), name)
            for name in ("event_id", "user_id", "item_id", "session_id", "list_id")
        ),
        *((event(quantity=value), "quantity") for value in (-1.0, float("nan"), float("inf"))),
        *((event(price=value), "price") for value in (-0.01, float("nan"), float("-inf"))),
        (event(position=-1), "position"),
        (event(text="x" * 20_001), "text"),
        (event(event_time=Timestamp(seconds=-1)), "event_time"),
        (event(event_time=Timestamp(seconds=2**62)), "event_time"),
        (event(event_time=Timestamp(seconds=int(time.time()) + 3600)), "event_time"),
        (event(event_time=Timestamp(seconds=0, nanos=-(2**31))), "event_time"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_event_that_breaks_a_rule_is_rejected_alone(client: Client, bad: Event, field: str) -> None:
    rejected, accepted = client.record_events([bad, event()])
    assert rejected.status == EventStatus.EVENT_STATUS_REJECTED
    assert rejected.reason.startswith(field)
    assert accepted.status == EventStatus.EVENT_STATUS_ACCEPTED


@pytest.mark.parametrize("method", PATHS.values())
def test_a_deadline_that_has_passed_reaches_nobody(
    address: str, method: str, pipeline: SmallPipeline
) -> None:
    before = len(pipeline.queries)
    raw = RecommendRequest(user_id="u").SerializeToString()
    assert refusal(address, method, raw, timeout=-1).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(pipeline.queries) == before


@pytest.mark.parametrize("method", PATHS.values())
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_is_too_large_as_it_is_and_unpacked(
    address: str, method: str, compression: grpc.Compression
) -> None:
    error = refusal(address, method, bytes(2 << 20), compression=compression)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", PATHS.values())
@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a\x02\xc3\x28",
        b"\x0b" * 200,
        b"not a message",
        b"\x0a\x05abc",
    ],
)
def test_what_is_no_message_is_said_to_be_none(address: str, method: str, raw: bytes) -> None:
    if raw == b"\x0a\x02\xc3\x28" and method.rpartition("/")[2] in _FIELDLESS:
        raw = b"\x0a\x02\xc3"
    error = refusal(address, method, raw)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(error)) == [""]


@pytest.mark.parametrize(
    "method", ["/recsys.v1.RecommendationService/Guess", "/recsys.v2.Anything/Recommend", "/", "/a/b/c"]
)
def test_a_method_that_is_not_there_is_unimplemented(address: str, method: str) -> None:
    assert refusal(address, method, b"").code() is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_has_a_size(address: str) -> None:
    raw = RecommendRequest(user_id="u").SerializeToString()
    error = refusal(address, PATHS["Recommend"], raw, metadata=(("x-padding", "x" * 65_536),))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
