"""Tests of several worker processes on one port: a death, a stop, a port in use."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from serving.compaction import settle
from tests.serving.running import PATIENCE_SECONDS, free_port
from tests.serving.small_models import FIRST, SECOND, two_models
from tests.serving.test_metrics import scrape_or_nothing

QUIET = {"RECSYS_LOG_LEVEL": "CRITICAL", "RECSYS_STATE_TIMEOUT_MS": "10000", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return two_models(tmp_path_factory.mktemp("models"))


@contextmanager
def two_workers(workspace: Workspace, metrics_port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "recsys", "serve", "--port=0", "--workers=2", "--clock=replay"]
    settings = os.environ | QUIET | {"RECSYS_METRICS_PORT": str(metrics_port)}
    with subprocess.Popen(
        [*command, f"--workspace={workspace.root}"], stdout=subprocess.PIPE, text=True, env=settings
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("listening on ").strip()
            assert process.stdout.readline().strip() == "ready"
            yield process, address
        finally:
            if process.poll() is None:
                process.terminate()


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in children if b"valkey" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def numbers_scraped(port: int) -> list[int]:
    """The workers whose endpoints are on a port or shortly above it, in the order of their ports."""
    found = [scrape_or_nothing(number) for number in range(port, port + 8)]
    return [
        int(dict(labels)["worker"])
        for samples in found
        for name, labels in samples
        if name == "recsys_worker_info"
    ]


def has_gone(process: subprocess.Popen[str], victim: int) -> bool:
    return victim not in workers_of(process)


def version_of(address: str) -> str:
    """The model of whichever worker a new connection reaches."""
    with Client(address, timeout_seconds=PATIENCE_SECONDS) as client:
        return client.recommend(RecommendRequest(user_id="user-1")).model_version


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def num_listening(address: str) -> int:
    """How many sockets accept connections on a port of the loopback address."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    return sum(local.endswith(port) and state == "0A" for _, local, _, state, *_ in rows)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes by /proc")
def test_two_workers_swap_together_outlive_a_death_and_drain(models: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(shutil.copytree(models.root, tmp_path / "workspace"))
    metrics_port = free_port()
    with two_workers(workspace, metrics_port) as (process, address):
        first, second = sorted(workers_of(process))
        of_both = num_listening(address)
        assert numbers_scraped(metrics_port) == [0, 1]
        for number in range(8):  # of new connections the kernel gives each worker some
            with Client(address, timeout_seconds=PATIENCE_SECONDS) as client:
                event = Event(
                    event_id=f"e{number}", event_type="purchase", user_id="new", item_id=f"{FIRST}-kale"
                )
                [result] = client.record_events([event])
                assert result.status == EventStatus.EVENT_STATUS_ACCEPTED
                assert not client.recommend(RecommendRequest(user_id="new")).degraded_reasons
        Registry(workspace.registry).promote(SECOND)
        until(lambda: {version_of(address) for _ in range(24)} == {SECOND})
        for victim in (second, first):
            os.kill(victim, signal.SIGKILL)
            for _ in range(8):
                assert version_of(address) == SECOND  # the client tries again
            until(partial(has_gone, process, victim))
            until(lambda: len(workers_of(process)) == 2 and num_listening(address) == of_both)
            until(lambda: {version_of(address) for _ in range(24)} == {SECOND})
            until(lambda: numbers_scraped(metrics_port) == [0, 1])
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    settle(workspace)  # the kill may have left events in the buffer and in the log
    logged = list(EventLog(workspace.events).event_ids())
    assert {f"e{n}" for n in range(8)} <= set(logged)
    assert len(logged) == len(set(logged))


def test_a_port_in_use_is_an_error(models: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "recsys", "serve", f"--port={taken.getsockname()[1]}", "--workers=2"]
        done = subprocess.run(
            [*command, f"--workspace={models.root}"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
