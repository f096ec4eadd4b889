"""Tests of spans, over a real server with the SDK's exporter in memory."""

from pathlib import Path

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from serving import tracing
from serving.client import Client
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import VERSION, SmallPipeline

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = ("traceparent", f"00-{TRACE}-{PARENT}-01")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Everything that a server exports which is started with traces on."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "OTLPSpanExporter", lambda: memory)
    monkeypatch.setattr(tracing, "BatchSpanProcessor", SimpleSpanProcessor)
    return memory


def by_name(memory: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in memory.get_finished_spans()}


def test_a_call_is_a_span_of_the_callers_trace_with_its_stages_below(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    with running_server(tmp_path, traces=True) as where, grpc.insecure_channel(where) as channel:
        RecommendationServiceStub(channel).Recommend(
            RecommendRequest(user_id="alice", session_id="secret-visit"),
            metadata=(TRACEPARENT,),
            timeout=PATIENCE_SECONDS,
        )
    found = by_name(spans)
    call = found["recsys.v1.RecommendationService/Recommend"]
    assert call.context is not None
    assert call.parent is not None
    assert format_trace_id(call.context.trace_id) == TRACE
    assert format_span_id(call.parent.span_id) == PARENT
    attributes = dict(call.attributes or {})
    assert (attributes["rpc.method"], attributes["rpc.grpc.status_code"]) == ("Recommend", 0)
    assert (attributes["recsys.placement"], attributes["recsys.model_version"]) == ("home", VERSION)
    for name in ("state", "ranking", "encode"):
        stage = found[name]
        assert stage.parent is not None
        assert stage.parent.span_id == call.context.span_id
        assert call.start_time is not None
        assert call.end_time is not None
        assert stage.start_time is not None
        assert stage.end_time is not None
        assert call.start_time <= stage.start_time <= stage.end_time <= call.end_time


def test_spans_name_nobody(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with (
        running_server(tmp_path, traces=True) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        client.record_events([Event(event_type="comment", user_id="alice", item_id="eggs", text="private")])
        client.recommend(RecommendRequest(user_id="alice", session_id="secret-visit"))
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "recsys.v1.EventService/RecordEvents" in told
    assert not any(word in told for word in ("alice", "eggs", "private", "secret-visit"))


def test_only_the_servers_faults_are_errors(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    pipeline = SmallPipeline(failure=ZeroDivisionError("internal words"))
    with (
        running_server(tmp_path, pipeline, traces=True) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        for request in (RecommendRequest(user_id="u"), RecommendRequest(user_id="u", page_size=-1)):
            with pytest.raises(grpc.RpcError):
                client.recommend(request)
    ended = [s.status.status_code for s in spans.get_finished_spans() if "Recommend" in s.name]
    assert ended == [StatusCode.ERROR, StatusCode.UNSET]
