"""How long one answer takes, on the workspace that ``make demo`` leaves behind.

``pytest tests/benchmarks --benchmark-only`` (the workspace is ``./workspace``, or ``RECSYS_WORKSPACE``).
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from recsys.answer import Query
from recsys.event_log import EventLog
from recsys.schema import USER_ID
from recsys.v1 import recommendation_service_pb2 as pb
from recsys.workspace import Workspace
from serving.client import Client
from serving.loading import load_pipeline, load_states

_WORKSPACE = Workspace(Path(os.environ.get("RECSYS_WORKSPACE", "workspace")))
_NUM_USERS = 300

pytestmark = pytest.mark.skipif(
    not (_WORKSPACE.registry / "pointers.json").exists(), reason="no trained workspace: run `make demo` first"
)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, float]]:
    """Address of a real server process, and the seconds it took until it was ready."""
    command = [sys.executable, "-m", "recsys", "serve", "--port=0", "--clock=replay"]
    started = time.monotonic()
    with subprocess.Popen(
        [*command, f"--workspace={_WORKSPACE.root}"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        assert process.stdout.readline().strip() == "ready"
        yield address, time.monotonic() - started
        process.terminate()


def _users() -> list[str]:
    users = (
        EventLog(_WORKSPACE.events).scan().select(USER_ID).unique().sort(USER_ID).collect()[USER_ID].to_list()
    )
    return [str(user) for user in np.random.default_rng(0).choice(users, _NUM_USERS, replace=False)]


def test_recommend_on_a_warm_server(benchmark: BenchmarkFixture, server: tuple[str, float]) -> None:
    address, seconds_to_ready = server
    users = itertools.cycle(_users())
    with Client(address, timeout_seconds=5) as client:

        def ask() -> pb.RecommendResponse:
            return client.recommend(pb.RecommendRequest(user_id=next(users), page_size=20))

        answer = benchmark.pedantic(  # type: ignore[no-untyped-call]  # unannotated upstream
            ask, rounds=2 * _NUM_USERS, warmup_rounds=50
        )
    assert len(answer.results) == 20
    benchmark.extra_info["seconds_to_ready"] = round(seconds_to_ready, 2)


def test_candidates_per_answer(benchmark: BenchmarkFixture) -> None:
    pipeline = load_pipeline(_WORKSPACE)
    states = dict(load_states(_WORKSPACE, pipeline))
    now_ms = (EventLog(_WORKSPACE.events).end_ms() or 0) + 1
    users = itertools.cycle(_users())

    def answer() -> int:
        return pipeline.recommend(Query(as_of_ms=now_ms, user=states[next(users)])).num_candidates

    benchmark.pedantic(answer, rounds=_NUM_USERS, warmup_rounds=50)  # type: ignore[no-untyped-call]  # unannotated upstream
    counts = [answer() for _ in range(_NUM_USERS)]
    benchmark.extra_info["candidates"] = {"median": int(np.median(counts)), "least": min(counts)}
    assert np.median(counts) >= 300
