"""Tests of what is refused, and how, with a real server whose answers are slow."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import grpc
import pytest

from recsys.answer import Query, RankedList
from recsys.v1.recommendation_service_pb2 import RecommendRequest, StreamRecommendRequest
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from serving.overload import PUSHBACK
from serving.priority import PRIORITY
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import SmallPipeline

ASK = RecommendRequest(user_id="u", page_size=2)
BATCH = ((PRIORITY, "batch"),)


class SlowPipeline(SmallPipeline):
    """Takes its time for every answer."""

    def recommend(self, query: Query) -> RankedList:
        time.sleep(0.02)
        return super().recommend(query)


@dataclass
class HeldPipeline(SmallPipeline):
    """Answers once it is let go."""

    started: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)

    def recommend(self, query: Query) -> RankedList:
        self.started.set()
        assert self.released.wait(PATIENCE_SECONDS)
        return super().recommend(query)


def test_sixteen_callers_of_a_slow_server_are_all_answered(tmp_path: Path) -> None:
    def visit(_: int) -> int:
        return sum(len(stub.Recommend(ASK, timeout=PATIENCE_SECONDS).results) for _ in range(5))

    with (
        running_server(tmp_path, SlowPipeline()) as where,
        grpc.insecure_channel(where) as channel,
        ThreadPoolExecutor(16) as callers,
    ):
        stub = RecommendationServiceStub(channel)
        assert list(callers.map(visit, range(16))) == [10] * 16


@contextmanager
def full_of_batches(root: Path) -> Iterator[tuple[RecommendationServiceStub, HeldPipeline]]:
    """A server that has as many calls of batches under way as may be: one."""
    pipeline = HeldPipeline()
    with (
        running_server(root, pipeline, ranking_threads=1, least_concurrent_requests=2) as where,
        grpc.insecure_channel(where) as channel,
    ):
        stub = RecommendationServiceStub(channel)
        first = stub.Recommend.future(ASK, timeout=PATIENCE_SECONDS, metadata=BATCH)
        try:
            assert pipeline.started.wait(PATIENCE_SECONDS)
            yield stub, pipeline
        finally:
            pipeline.released.set()
        assert len(first.result().results) == 2


def test_a_call_that_is_refused_is_told_when_to_come_again(tmp_path: Path) -> None:
    with full_of_batches(tmp_path) as (stub, _):
        with pytest.raises(grpc.RpcError) as caught:
            stub.Recommend(ASK, timeout=PATIENCE_SECONDS, metadata=BATCH)
        with pytest.raises(grpc.RpcError) as caught_stream:
            list(stub.StreamRecommend(StreamRecommendRequest(request=ASK), metadata=BATCH))
    for error in (caught.value, caught_stream.value):
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (PUSHBACK, "250") in {(one.key, str(one.value)) for one in error.trailing_metadata()}


def test_a_shopper_is_let_in_where_a_batch_is_not(tmp_path: Path) -> None:
    with full_of_batches(tmp_path) as (stub, pipeline):
        shopper = stub.Recommend.future(ASK, timeout=PATIENCE_SECONDS)
        with pytest.raises(grpc.RpcError):
            stub.Recommend(ASK, timeout=PATIENCE_SECONDS, metadata=BATCH)
        pipeline.released.set()
        assert len(shopper.result().results) == 2


def test_calls_that_were_given_up_leave_room_for_others(tmp_path: Path) -> None:
    def brief(stub: RecommendationServiceStub) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Recommend(ASK, timeout=0.05)
        return caught.value.code()

    with full_of_batches(tmp_path) as (stub, _):
        for _ in range(5):  # there is room for three
            brief(stub)
        end = time.monotonic() + PATIENCE_SECONDS
        while brief(stub) is grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert time.monotonic() < end
