"""A topic in memory, readers of its partitions, and a store that can come back with what it had before."""

import asyncio
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
import redis

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.event_log import EventLog
from recsys.schema import EFFECTIVE_TIME, EVENT_ID, EVENT_TYPE_CODES, ITEM_ID, MERGED_INTO, USER_ID
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.cluster_client import StoreClient
from serving.discretion import Discretion
from serving.embedded_store import _find_binary
from serving.event import Event, Merge
from serving.kafka_partition import KafkaPartition, Record
from serving.kafka_record import encode, key_of
from serving.kafka_states import KafkaStates
from serving.losses import TopicRecord
from serving.state_store import StateStore
from serving.store_clients import connect

TOPIC = "events"
_ATTEMPTS = 200


class FailingStore:
    """A server on a Unix socket that can be emptied, and can lose what came after a moment."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._socket = directory, directory / "store.sock"
        self.url = f"unix://{self._socket}"
        self._start()

    def empty(self) -> None:
        with redis.Redis(unix_socket_path=str(self._socket)) as client:
            client.flushall()

    def keep(self) -> None:
        """What is there now is all that the server has after it fails."""
        with redis.Redis(unix_socket_path=str(self._socket)) as client:
            client.save()

    def fail(self) -> None:
        """Die; another server comes in its place, with what was kept."""
        self.stop()
        self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        options = {"port": "0", "unixsocket": self._socket, "dir": self._directory, "save": ""}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([str(_find_binary()), *words], stdout=subprocess.DEVNULL)
        with redis.Redis(unix_socket_path=str(self._socket)) as client:
            for _ in range(_ATTEMPTS):
                try:
                    client.ping()
                except redis.RedisError:
                    assert self._process.poll() is None
                    self._wait()
                else:
                    return
        raise AssertionError("the store did not start")

    def _wait(self) -> None:
        try:
            self._process.wait(0.02)
        except subprocess.TimeoutExpired:
            return


@contextmanager
def failing_store() -> Iterator[FailingStore]:
    with tempfile.TemporaryDirectory(prefix="recsys-") as directory:
        store = FailingStore(Path(directory))
        try:
            yield store
        finally:
            store.stop()


@dataclass(frozen=True)
class PurchaseStates:
    """The states of a log, in which every event is a purchase."""

    workspace: Workspace

    def __iter__(self) -> Iterator[tuple[str, UserState]]:
        return iter(logged_states(self.workspace))

    def of(self, user_ids: Sequence[str]) -> list[tuple[str, UserState]]:
        return [(user_id, state) for user_id, state in self if user_id in user_ids]


def logged_states(workspace: Workspace) -> list[tuple[str, UserState]]:
    """All of them."""
    found: dict[str, UserState] = {}
    rows = EventLog(workspace.events).scan().collect()
    if MERGED_INTO in rows.columns:
        rows = rows.with_columns(pl.coalesce(MERGED_INTO, USER_ID).alias(USER_ID))
    time_ms = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
    for user_id, item_id, when in rows.select(USER_ID, ITEM_ID, time_ms).iter_rows():
        state = found.setdefault(user_id, UserState(StateConfig().half_lives_days))
        state.apply(item_id, EVENT_TYPE_CODES["purchase"], when, is_purchase=True, max_rows=5000)
    return list(found.items())


@dataclass
class Topic:
    """Partitions, and what lies in each."""

    root: Path
    client: StoreClient
    server: FailingStore
    lying: dict[int, list[Event | Merge]] = field(default_factory=lambda: defaultdict(list))
    clients: list[StoreClient] = field(default_factory=list)
    """Others, to be closed at the end."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def store(self, source: str = "none") -> StateStore:
        return StateStore(self.client, "shop", StateConfig(), Discretion(self.root), source=source)

    def states(self) -> KafkaStates:
        return KafkaStates(
            self.workspace, self.store(), TOPIC, lambda: PurchaseStates(self.workspace), reading=self
        )

    def spans(self) -> dict[int, tuple[int, int]]:
        return {number: (0, len(lying)) for number, lying in self.lying.items()}

    def since(self, starts: Mapping[int, int]) -> list[TopicRecord]:
        return [
            TopicRecord(number, offset, record)
            for number, start in starts.items()
            for offset, record in enumerate(self.lying[number][start:], start)
        ]

    async def note(self, *readers: KafkaPartition) -> None:
        """Let readers write down how far the states have come."""
        for _ in range(2):
            await self.states().note(readers)

    def reader(self, number: int) -> KafkaPartition:
        """Somebody who has taken a partition over."""
        store, past = self.store(f"{TOPIC}/{number}"), self.states().past()
        return KafkaPartition(self.workspace, TOPIC, number, tenant="shop", store=store, past=past)

    @asynccontextmanager
    async def moved(self, events: Sequence[Event]) -> AsyncIterator[KafkaPartition]:
        """Somebody who has taken partition 0 over, applied what lies there and moved it to the log."""
        self.lying[0] = list(events)
        with closing(self.reader(0)) as reader:
            await self.read(reader)
            assert await self.move(reader) == len(events)
            yield reader

    def with_client(self) -> "Topic":
        """The same through a client of its own."""
        self.clients.append(connect(self.server.url, 5000))
        return replace(self, client=self.clients[-1])

    def take(self, reader: KafkaPartition, start: int, end: int | None = None) -> int:
        """Let somebody read what lies from an offset on; the offset behind it."""
        lying = self.lying[reader.number][:end]
        records = [Record(n, key_of("shop", one), encode(one)) for n, one in enumerate(lying)]
        reader.take(records[start:])
        return len(lying)

    async def read(self, reader: KafkaPartition) -> None:
        """Let somebody read everything that lies there, from where it has to begin, and apply it."""
        self.take(reader, reader.start or 0)
        await self.carry_on(reader)

    async def carry_on(self, *readers: KafkaPartition) -> None:
        """Let readers apply what there is, as a consumer does round after round."""
        states = self.states()
        for _ in range(_ATTEMPTS):
            try:
                await states.ensure()
            except StoreError:  # a connection to the server of before
                continue
            due = [reader for reader in readers if reader.is_due(states.filling)]
            if not due:
                return
            for reader in due:
                await self.step(reader)
        raise AssertionError("the readers do not come to an end")

    async def step(self, reader: KafkaPartition) -> None:
        """Let somebody apply some records, whatever the store has lost that nobody has noticed."""
        await reader.apply(self.states().filling)

    async def move(self, reader: KafkaPartition) -> int | None:
        async with self.states().moving() as filling:
            return reader.move(filling)

    async def remembered(self, user_id: str) -> Counter[str]:
        """How often a user took each item, as the online state says."""
        state = await self.store().get(user_id)
        if state is None:
            return Counter()
        return Counter(dict(zip(state.item_ids, state.counts.tolist(), strict=True)))

    async def counts(self, user_id: str) -> int:
        """How many events a user's state has."""
        return (await self.remembered(user_id)).total()

    def logged(self) -> list[tuple[str, str]]:
        return sorted(EventLog(self.workspace.events).scan().select(EVENT_ID, USER_ID).collect().rows())


def play(root: Path, scenario: Callable[[Topic], Awaitable[None]]) -> None:
    async def run(server: FailingStore) -> None:
        client = connect(server.url, 5000)
        try:
            topic = Topic(root, client, server)
            await topic.states().ensure()
            await scenario(topic)
            for other in topic.clients:
                await other.aclose()
        finally:
            await client.aclose()

    with failing_store() as server:
        asyncio.run(run(server))
