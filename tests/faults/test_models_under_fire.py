"""Models change, fail, are slow and die while shoppers ask: each answer is whole, and of one version."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import structlog

from recsys.cli import configure_logging
from recsys.fault_point import EXIT_CODE
from recsys.registry import Registry
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest, RecommendResponse
from recsys.v1.types_pb2 import ServiceLevel
from recsys.workspace import Workspace
from serving.client import AsyncClient, Client, Connection
from serving.loading import load_pipeline
from tests.conftest import Trained
from tests.faults.conftest import Note, Serve, copy_of
from tests.faults.load import Outcomes, steady
from tests.faults.processes import ServerProcess, until
from tests.serving.running import running_server
from tests.serving.small_models import FIRST, SECOND, two_models
from tests.serving.test_supervisor import workers_of

SWAPS, WARM_UP = 20, 6


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A shop with two models, each with items of its own."""
    return two_models(tmp_path_factory.mktemp("models"))


def versions_of(answer: RecommendResponse) -> set[str]:
    """Versions that an answer is made from: its own word, and whose items it has."""
    of_items = {FIRST if one.item_id.startswith(FIRST) else SECOND for one in answer.results}
    return {answer.model_version, *of_items}


def serves(server: ServerProcess, version: str) -> bool:
    return version_at(server) == version


def version_at(server: ServerProcess) -> str:
    with server.client() as client:
        return client.recommend(RecommendRequest(user_id="user-1")).model_version


def test_t18_swaps_under_load_fail_no_call_and_mix_no_answer(
    models: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    workspace = copy_of(models, tmp_path)
    registry = Registry(workspace.registry)

    async def scenario(server: ServerProcess) -> Outcomes:
        mixed: list[set[str]] = []
        latest, done, outcomes = [""], asyncio.Event(), Outcomes()
        async with AsyncClient(Connection(server.address, timeout_seconds=10)) as client:

            async def ask(number: int) -> RecommendResponse:
                answer = await client.recommend(RecommendRequest(user_id=f"user-{number % 4}"))
                if len(versions_of(answer)) != 1:
                    mixed.append(versions_of(answer))
                latest[0] = answer.model_version
                return answer

            async def load() -> None:
                while not done.is_set():
                    outcomes.calls += (await steady(ask, 20, 1)).calls

            loading = asyncio.ensure_future(load())
            for number in range(SWAPS):
                registry.promote(wanted := (SECOND, FIRST)[number % 2])
                await asyncio.to_thread(until, partial(latest.__contains__, wanted))
            done.set()
            await loading
        assert not mixed
        return outcomes

    with serve(workspace, tmp_path / "server") as server:
        for number in range(WARM_UP):  # until the allocator holds what a swap needs
            wanted = (SECOND, FIRST)[number % 2]
            registry.promote(wanted)
            until(partial(serves, server, wanted))
        before = server.rss_bytes()  # with both models in memory
        outcomes = asyncio.run(scenario(server))
        grown = 100 * (server.rss_bytes() / before - 1)
    assert outcomes.statuses() == {"OK": len(outcomes.calls)}
    assert {call.version for call in outcomes.calls} == {FIRST, SECOND}
    assert grown <= 5
    figure("T18", f"calls during {SWAPS} swaps", len(outcomes.calls), "", "")
    figure("T18", "calls that failed", len(outcomes.calls) - len(outcomes.ok().calls), "", "0")
    figure("T18", "memory grown", grown, "%", "<= 5")


@pytest.mark.parametrize("point", ["model-loaded", "model-swapped"])
def test_t19_a_crash_in_a_swap_leaves_a_model_that_serves(
    models: Workspace, serve: Serve, tmp_path: Path, figure: Note, point: str
) -> None:
    workspace = copy_of(models, tmp_path)
    with serve(workspace, tmp_path / "one", RECSYS_FAULT=f"{point}:1") as server:
        Registry(workspace.registry).promote(SECOND)
        assert server.wait() == EXIT_CODE
    with serve(workspace, tmp_path / "two") as server:
        assert version_at(server) == SECOND
    figure("T19", f"a model serves after a crash at {point}", 1, "", "1")


@pytest.mark.parametrize(("point", "stable"), [("atomic-written", FIRST), ("atomic-renamed", SECOND)])
def test_t19_a_crash_while_pointing_leaves_the_old_pointer_or_the_new(
    models: Workspace, tmp_path: Path, figure: Note, *, point: str, stable: str
) -> None:
    workspace = copy_of(models, tmp_path)
    words = ["models", "rollback", f"--workspace={workspace.root}"]
    Registry(workspace.registry).promote(SECOND)
    Registry(workspace.registry).promote(FIRST)
    done = subprocess.run(
        [sys.executable, "-m", "recsys", *words],
        env=os.environ | {"RECSYS_FAULT": f"{point}:1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == EXIT_CODE, done.stderr
    assert Registry(workspace.registry).pointers().stable == stable
    Registry(workspace.registry).promote(SECOND)  # and it can be written again
    figure("T19", f"the pointer is whole after a crash at {point}", 1, "", "1")


def test_t20_a_rollback_brings_the_old_lists_back_to_the_bit(
    models: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    workspace = copy_of(models, tmp_path)
    with serve(workspace, tmp_path / "server") as server, server.client() as client:
        before = lists_of(client)
        Registry(workspace.registry).promote(SECOND)
        until(lambda: version_at(server) == SECOND)
        assert lists_of(client) != before
        Registry(workspace.registry).rollback()
        seconds = until(lambda: version_at(server) == FIRST)
        assert lists_of(client) == before
    figure("T20", "rollback", seconds, "s", "<= 1")


def lists_of(client: Client) -> list[tuple[str, float]]:
    """What four shoppers get, without what differs from call to call."""
    answers = [client.recommend(RecommendRequest(user_id=f"user-{number}")) for number in range(4)]
    return [(one.item_id, one.score) for answer in answers for one in answer.results]


class Broken:
    """A ranker that does what it is told."""

    def __init__(self, ranker: object) -> None:
        self._ranker = ranker
        self.harm = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._ranker, name)

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        if self.harm == "throws":
            raise RuntimeError("secret words of the ranker")
        if self.harm == "is late":
            time.sleep(1.2)
        found = np.asarray(self._ranker.scores(matrix))  # type: ignore[attr-defined]
        return found * np.nan if self.harm == "is not finite" else found


@contextmanager
def breakable(trained: Trained, tmp_path: Path) -> Iterator[tuple[Client, Broken]]:
    """The trained shop on a real server, whose parts can be broken while it runs."""
    configure_logging("CRITICAL", "json")  # structlog's default draws tracebacks for a second
    workspace = copy_of(trained.workspace, tmp_path)
    pipeline = load_pipeline(workspace)
    broken = Broken(pipeline.bundle.rankers["all"])
    for orders in pipeline.bundle.rankers:
        pipeline.bundle.rankers[orders] = broken  # type: ignore[assignment]
    with (
        running_server(workspace.root, pipeline, clock="replay") as address,
        Client(address, timeout_seconds=1.0) as client,
    ):
        yield client, broken
    structlog.reset_defaults()


def test_t21_what_throws_or_is_late_makes_answers_simpler(
    trained: Trained, tmp_path: Path, figure: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RecommendRequest(user_id="coffee-user1", page_size=5)
    with breakable(trained, tmp_path) as (client, broken):
        for _ in range(3):
            client.recommend(request)
        found: dict[str, tuple[str, list[str], int]] = {}
        for harm in ("throws", "is not finite"):
            broken.harm = harm
            answer = client.recommend(request)
            found[harm] = level_of(answer), list(answer.degraded_reasons), len(answer.results)
            ranked = client.rank(RankRequest(user_id="coffee-user1", item_ids=["music-1", "coffee-1"]))
            assert [one.item_id for one in ranked.results] == ["music-1", "coffee-1"]  # as they came
            assert "secret" not in str(answer)
        broken.harm = "is late"
        taken = []
        for _ in range(8):
            started = time.monotonic()
            answer = client.recommend(request)
            taken.append(time.monotonic() - started)
            found["is late"] = level_of(answer), list(answer.degraded_reasons), len(answer.results)
        broken.harm = ""
        with monkeypatch.context() as patch:
            patch.setattr("recsys.pipeline.gather", fails)  # what asks the sources
            until(lambda: "pipeline_failed" in client.recommend(request).degraded_reasons)
            answer = client.recommend(request)
            found["sources"] = level_of(answer), list(answer.degraded_reasons), len(answer.results)
        until(lambda: level_of(client.recommend(request)) == "FULL", what="FULL after all")
    assert found == {
        "throws": ("NO_RANKER", ["ranker_unavailable"], 5),
        "is not finite": ("NO_RANKER", ["ranker_unavailable"], 5),
        "is late": ("POPULAR", ["deadline"], 5),
        "sources": ("POPULAR", ["pipeline_failed"], 5),
    }
    assert max(taken) < 1.0
    figure("T21", "slowest answer of a late ranker, deadline 1000 ms", max(taken) * 1e3, "ms", "<= 1000")
    figure("T21", "fastest of them, once it is known to be late", min(taken) * 1e3, "ms", "")


def fails(*_: object) -> object:
    raise RuntimeError("secret words of the sources")


def level_of(answer: RecommendResponse) -> str:
    return ServiceLevel.Name(answer.service_level).removeprefix("SERVICE_LEVEL_")


def test_t22_a_worker_that_dies_is_back_in_seconds_and_nobody_notices(
    models: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    workspace = copy_of(models, tmp_path)
    flags = ("--port=0", "--clock=replay", "--workers=2")
    with serve(workspace, tmp_path / "server", *flags) as server:
        victim = sorted(workers_of(server))[1]  # type: ignore[arg-type]  # all it reads is the process id

        async def scenario() -> Outcomes:
            async with AsyncClient(Connection(server.address, timeout_seconds=10)) as client:
                load = asyncio.ensure_future(
                    steady(lambda _: client.recommend(RecommendRequest(user_id="user-1")), 20, 5)
                )
                await asyncio.sleep(1.5)
                os.kill(victim, signal.SIGSEGV)
                return await load

        outcomes = asyncio.run(scenario())
        assert outcomes.statuses() == {"OK": len(outcomes.calls)}
        seconds = until(
            lambda: victim not in workers_of(server) and len(workers_of(server)) == 2,  # type: ignore[arg-type]
            what="another worker",
        )
        assert '"a worker ended and is started again"' in server.err
        server.send(signal.SIGTERM)
        assert server.wait() == 0
    figure(
        "T22",
        "calls answered while a worker crashed",
        100 * len(outcomes.ok().calls) / len(outcomes.calls),
        "%",
        "100",
    )
    figure("T22", "another worker process after the load", seconds, "s", "<= 2")
