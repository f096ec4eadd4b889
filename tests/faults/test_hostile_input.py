"""Requests that no client of ours would send: documented codes, named fields, bounded memory."""

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from recsys.v1 import catalog_service_pb2 as catalog_pb
from recsys.v1.catalog_service_pb2_grpc import CatalogServiceStub
from recsys.v1.event_service_pb2 import Event, EventStatus, RecordEventsRequest
from recsys.v1.experiment_service_pb2 import GetAssignmentsRequest
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.v1.types_pb2 import Item
from tests.conftest import Trained
from tests.faults.conftest import Note, Serve, copy_of
from tests.faults.processes import PATIENCE_SECONDS, ServerProcess, until
from tests.serving.fuzz import METHODS, fuzz, undocumented
from tests.serving.running import free_port
from tests.serving.test_servicer import violated

CASES = int(os.environ.get("RECSYS_FUZZ_CASES", "6000"))
"""Of fuzzing here; ``make fuzz`` sends 100,000."""
PATHS = {method.name: f"/{method.containing_service.full_name}/{method.name}" for method in METHODS}
LONG = "x" * 257
BAD_ENUM: Any = 77
_MIB = 1 << 20


@dataclass
class Target:
    """A server, and the port of its AdminService."""

    server: ServerProcess
    admin_port: int


@pytest.fixture(scope="module")
def target(trained: Trained, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    workspace, port = copy_of(trained.workspace, tmp_path_factory.mktemp("hostile")), free_port()
    env = {"RECSYS_ADMIN_PORT": str(port), "RECSYS_CATALOGUE_STALE_AFTER": "PT10M"}
    with serve(workspace, workspace.root, **env) as server:
        yield Target(server, port)
        assert server.is_running()


@contextmanager
def _call(address: str, method: str) -> Iterator["grpc.UnaryUnaryMultiCallable[bytes, bytes]"]:
    with grpc.insecure_channel(address) as channel:
        yield channel.unary_unary(method)


def code_of(address: str, method: str, raw: bytes, **options: Any) -> str:
    """The status of a call."""
    with _call(address, method) as call:
        try:
            call(raw, timeout=PATIENCE_SECONDS, **options)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def broken_fields(address: str, message: Message) -> set[str]:
    """The fields that an INVALID_ARGUMENT names."""
    method = PATHS[type(message).__name__.removesuffix("Request")]
    with _call(address, method) as call, pytest.raises(grpc.RpcError) as caught:
        call(message.SerializeToString(), timeout=PATIENCE_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return set(violated(caught.value))


def peak_bytes(server: ServerProcess) -> int:
    """The most memory that the server held since the last look."""
    root = Path("/proc") / str(server.pid)
    lines = (root / "status").read_text(encoding="ascii").splitlines()
    peak = int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
    (root / "clear_refs").write_text("5", encoding="ascii")
    return peak


@pytest.mark.timeout(600)
def test_t27_nonsense_gets_documented_codes_only(target: Target, figure: Note) -> None:
    fuzzing = fuzz(
        target.server.address,
        CASES,
        seed=27,
        seconds=500,
        advance=lambda _: None,
        admin=f"127.0.0.1:{target.admin_port}",
    )
    codes = asyncio.run(fuzzing)
    assert not undocumented(codes), codes
    assert codes["OK"] > CASES // 50
    assert target.server.is_running()
    assert "Traceback" not in target.server.err
    figure("T27", "nonsense requests with documented codes (make fuzz: 100,000)", codes.total(), "", "all")


@pytest.mark.timeout(300)
def test_t28_what_is_too_large_is_refused_at_little_memory(target: Target, figure: Note) -> None:
    server, path = target.server, PATHS["RecordEvents"]
    sizes: dict[str, tuple[bytes, dict[str, Any]]] = {
        "message": (bytes(5 * _MIB), {}),
        "gzip bomb": (bytes(60 * _MIB), {"compression": grpc.Compression.Gzip}),
        "metadata": (b"", {"metadata": (("x-padding", "x" * 65_536),)}),
    }
    assert (
        code_of(server.address, PATHS["Recommend"], RecommendRequest(user_id="u").SerializeToString()) == "OK"
    )
    peak_bytes(server)
    before = server.rss_bytes()
    for name, (raw, options) in sizes.items():
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(code_of, server.address, path, raw, **options) for _ in range(12)]
            assert {call.result() for call in calls} == {"RESOURCE_EXHAUSTED"}, name
    grown = (peak_bytes(server) - before) / 1e6
    assert grown <= 100
    figure("T28", "peak memory over 36 oversized calls, 4 at a time", grown, "MB", "<= 100")


def _event(**fields: Any) -> Event:
    return Event(**({"event_type": "view", "user_id": "u", "item_id": "coffee-1"} | fields))


_RULES: tuple[tuple[Message, str], ...] = (
    (RecommendRequest(user_id="u", page_size=-1), "page_size"),
    (RecommendRequest(), "user_id"),
    (RecommendRequest(user_id=LONG), "user_id"),
    (RecommendRequest(user_id="\x1fu"), "user_id"),
    (RecommendRequest(visitor_id=LONG), "visitor_id"),
    (RecommendRequest(user_id="u", session_id=LONG), "session_id"),
    (RecommendRequest(user_id="u", placement="attic"), "placement"),
    (RecommendRequest(user_id="u", view=BAD_ENUM), "view"),
    (RecommendRequest(user_id="u", filter="price <"), "filter"),
    (RecommendRequest(user_id="u", page_token="no token"), "page_token"),
    (RecommendRequest(user_id="u", query="x" * 501), "query"),
    (RecommendRequest(user_id="u", attributes={"k" * 65: "v"}), "attributes"),
    (RecommendRequest(user_id="u", attributes={str(n): "v" for n in range(33)}), "attributes"),
    (RecommendRequest(user_id="u", context_item_ids=["i"] * 101), "context_item_ids"),
    (RecommendRequest(user_id="u", exclude_item_ids=["i"] * 1_001), "exclude_item_ids"),
    (RecommendRequest(user_id="u", exclude_item_ids=["i", ""]), "exclude_item_ids[1]"),
    (RankRequest(user_id="u"), "item_ids"),
    (RankRequest(user_id="u", item_ids=["i"] * 1_001), "item_ids"),
    (RankRequest(user_id="u", item_ids=["i", LONG]), "item_ids[1]"),
    (RecordEventsRequest(), "events"),
    (RecordEventsRequest(events=[Event()] * 10_001), "events"),
    (catalog_pb.UpsertItemsRequest(), "items"),
    (catalog_pb.UpsertItemsRequest(items=[Item()] * 1_001), "items"),
    (catalog_pb.DeleteItemsRequest(), "item_ids"),
    (catalog_pb.BatchGetItemsRequest(item_ids=["i"] * 1_001), "item_ids"),
    (GetAssignmentsRequest(user_id=LONG), "user_id"),
)
_EVENTS: tuple[tuple[Event, str], ...] = (
    (_event(event_type="look"), "event_type"),
    (_event(user_id=""), "user_id"),
    (_event(item_id=""), "item_id"),
    (_event(item_id="sphinx"), "item_id"),
    *((_event(**{name: LONG}), name) for name in ("event_id", "user_id", "item_id", "session_id", "list_id")),
    *((_event(quantity=value), "quantity") for value in (-1.0, float("nan"), float("inf"))),
    *((_event(price=value), "price") for value in (-1.0, float("nan"), float("-inf"))),
    (_event(position=-1), "position"),
    (_event(text="x" * 20_001), "text"),
    (_event(event_time=Timestamp(seconds=-1)), "event_time"),
    (_event(event_time=Timestamp(seconds=2**62)), "event_time"),
)
_ITEMS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"title": ""}, "title"),
    ({"item_id": ""}, "item_id"),
    ({"item_id": LONG}, "item_id"),
    ({"price": -1.0}, "price"),
    ({"price": float("nan")}, "price"),
    ({"title": "x" * 20_001}, "title"),
    ({"created_time": Timestamp(seconds=2**62)}, "created_time"),
    ({"created_time": Timestamp(seconds=-(2**62))}, "created_time"),
)


@pytest.mark.timeout(120)
def test_t29_every_rule_that_is_broken_is_named(target: Target, figure: Note) -> None:
    for message, field in _RULES:
        assert field in broken_fields(target.server.address, message), field
    with target.server.client() as client:
        for event, field in _EVENTS:
            bad, good = client.record_events([event, _event()])
            assert bad.status == EventStatus.EVENT_STATUS_REJECTED, event
            assert good.status == EventStatus.EVENT_STATUS_ACCEPTED, event
            assert bad.reason.startswith(field)
    with grpc.insecure_channel(target.server.address) as channel:
        for fields, field in _ITEMS:
            item = Item(**({"item_id": "new", "title": "t"} | fields))
            result = CatalogServiceStub(channel).UpsertItems(catalog_pb.UpsertItemsRequest(items=[item]))
            assert result.results[0].reason.startswith(field), (field, result)
    figure("T29", "rules, each named when broken", len(_RULES) + len(_EVENTS) + len(_ITEMS), "", "all")


@pytest.mark.timeout(120)
def test_t30_nobody_and_nothing_are_answered(
    trained: Trained, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    workspace = copy_of(trained.workspace, tmp_path)
    with (
        serve(workspace, workspace.root) as server,
        server.client() as client,
        grpc.insecure_channel(server.address) as channel,
    ):
        stranger = client.recommend(RecommendRequest(user_id="nobody at all", page_size=5))
        assert len(stranger.results) == 5
        alone = client.recommend(RecommendRequest(placement="similar_items", context_item_ids=["sphinx"]))
        assert list(alone.missing_item_ids) == ["sphinx"]
        nothing = client.recommend(RecommendRequest(user_id="coffee-user1", filter="price < 0"))
        assert not nothing.results
        excluded = [item for group in trained.shop.items["item_id"].to_list() for item in [group]]
        none_left = client.recommend(RecommendRequest(user_id="coffee-user1", exclude_item_ids=excluded))
        assert not none_left.results
        ranked = client.rank(RankRequest(user_id="coffee-user1", item_ids=["sphinx", "minotaur"]))
        assert sorted(ranked.missing_item_ids) == ["minotaur", "sphinx"]
        stub = CatalogServiceStub(channel)
        stub.DeleteItems(catalog_pb.DeleteItemsRequest(item_ids=excluded))
        until(lambda: not client.recommend(RecommendRequest(user_id="coffee-user1")).results)
        for placement in ("home", "similar_items", "search", "buy_it_again"):
            request = RecommendRequest(
                user_id="coffee-user1",
                placement=placement,
                context_item_ids=excluded[:1],
                query="coffee" if placement == "search" else "",
            )
            raw, started = request.SerializeToString(), time.monotonic()
            assert code_of(server.address, PATHS["Recommend"], raw) == "OK", placement
            assert time.monotonic() - started < PATIENCE_SECONDS
        assert server.is_running()
    figure("T30", "unknown, filtered, excluded and deleted: answered OK", 9, "", "never INTERNAL")
