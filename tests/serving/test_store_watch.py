"""Tests of the watch over a store that may lose what it holds."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.event_log import EventLog
from recsys.remote.people import word_of_erasures
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from serving.embedded_store import embedded_store
from serving.event_buffer import SqliteEventBuffer
from serving.loading import LoggedStates
from serving.log_sync import LogSync
from serving.models import Model, Models
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_clients import connect
from serving.store_watch import StoreWatch
from tests.serving.running import PATIENCE_SECONDS
from tests.serving.small_shop import NOON, SmallPipeline, make_event

CONFIG = StateConfig()


class OneState(LoggedStates):
    """A log in which one user bought eggs."""

    def __init__(self) -> None:
        self.num_reads = 0

    def __iter__(self) -> Iterator[tuple[str, UserState]]:
        self.num_reads += 1
        state = UserState(CONFIG.half_lives_days)
        state.apply("eggs", 4, NOON, is_purchase=True, max_rows=10)
        yield "u1", state

    def of(self, user_ids: Sequence[str]) -> Iterator[tuple[str, UserState]]:
        return ((user_id, state) for user_id, state in self if user_id in user_ids)


class MovingStore(StateStore):
    """Says that another server answers from time to time, or that none does."""

    failover = ""
    fails = False

    async def server_id(self) -> str:
        if self.fails:
            raise StoreError("the store did not answer")
        return await super().server_id() + self.failover


@dataclass
class Site:
    """A store that was loaded from the log, and all that looks after it."""

    url: str
    store: MovingStore
    buffer: SqliteEventBuffer
    updater: StateUpdater
    watch: StoreWatch
    states: OneState = field(default_factory=OneState)

    async def items(self, user_id: str) -> list[str]:
        state = await self.store.get(user_id)
        return sorted(state.item_ids) if state is not None else []

    async def bought(self, event_id: str, item_id: str) -> None:
        await asyncio.wrap_future(self.buffer.append([make_event(event_id, item_id=item_id)]))
        await self.updater.catch_up()

    async def lose(self, *keys: str) -> None:
        """Remove keys behind the server's back, or everything."""
        async with connect(self.url, 30_000) as client:
            await (client.delete(*keys) if keys else client.flushall())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as url:
        yield url


@asynccontextmanager
async def loaded(url: str, root: Path) -> AsyncIterator[Site]:
    async with connect(url, 30_000) as client:
        await client.flushall()
    with closing(SqliteEventBuffer(root / "b.sqlite")) as buffer:
        store = MovingStore(connect(url, 30_000), "t", CONFIG)
        updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
        sync = LogSync(EventLog(root / "events"), buffer, store, updater, root / "lock")
        states = OneState()
        try:
            await sync.load(states)
            watch = StoreWatch(store, buffer, updater, sync, lambda: states)
            await watch.look()
            yield Site(url, store, buffer, updater, watch, states)
        finally:
            await store.close()


def run(url: str, root: Path, scenario: "Callable[[Site], object]") -> None:
    async def scene() -> None:
        async with loaded(url, root) as site:
            await scenario(site)  # type: ignore[misc]

    asyncio.run(scene())


def test_a_store_that_has_everything_is_left_alone(url: str, tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.bought("e1", "dates")
        await site.watch.look()
        assert site.states.num_reads == 1
        assert await site.store.progress() == site.updater.reached

    run(url, tmp_path, scenario)


def test_an_emptied_store_is_filled_from_the_log_and_the_buffer(url: str, tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.bought("e1", "dates")
        await site.lose()
        assert await site.items("u1") == []
        await site.watch.look()
        await site.updater.catch_up()
        assert await site.items("u1") == ["dates", "eggs"]

    run(url, tmp_path, scenario)


def test_another_server_gets_the_latest_events_again(url: str, tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.bought("e1", "dates")
        await site.watch.look()
        await site.lose(site.store.keys.state("u1"))  # as a replica that lacks the last writes
        site.store.failover = " after a failover"
        await site.watch.look()
        await site.updater.catch_up()
        assert await site.items("u1") == ["dates", "eggs"]
        assert site.states.num_reads == 2, "once for everybody, once for whom the note does not vouch"

    run(url, tmp_path, scenario)


def test_erased_people_whom_another_server_brings_back_are_forgotten_again(url: str, tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        state = await site.store.get("u1")
        assert state is not None
        await site.store.rewrite([("erased", state), ("left alone", state)])
        await site.store.learn_origins([("erased", "erased"), ("other", "erased"), ("left alone", "visitor")])
        Tombstones(tmp_path).add(["erased"], NOON)
        site.store.failover = " after a failover"
        await site.watch.look()
        assert {person async for person in site.store.people()} == {"u1", "left alone"}
        assert await site.store.origin("erased") == await site.store.origin("other") == (None, False)
        assert await site.store.origin("left alone") == ("visitor", True)

    run(url, tmp_path, scenario)


def test_whom_a_pull_said_to_be_erased_the_store_forgets_once_it_is_there(url: str, tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        state = await site.store.get("u1")
        assert state is not None
        await site.store.rewrite([("erased", state), ("left alone", state)])
        Tombstones(tmp_path).add(["erased"], NOON)
        await site.watch.look()
        assert await site.items("erased")  # nobody says that the store knows nothing of it
        word_of_erasures(tmp_path).touch()
        site.store.fails = True
        with pytest.raises(StoreError):
            await site.watch.look()
        site.store.fails = False
        await site.watch.look()
        assert {person async for person in site.store.people()} == {"u1", "left alone"}
        assert [path.name for path in word_of_erasures(tmp_path).parent.glob("brought*")] == []

    run(url, tmp_path, scenario)


def test_a_state_that_cannot_be_read_is_made_anew(url: str, tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.bought("e1", "dates")
        async with connect(url, 30_000) as client:
            await client.set(site.store.keys.state("u1"), b"\x00 no state")
        assert await site.items("u1") == []
        assert site.store.records.damaged == {"u1"}
        await site.watch.look()
        await site.updater.catch_up()
        assert await site.items("u1") == ["dates", "eggs"]
        assert not site.store.records.damaged

    run(url, tmp_path, scenario)


def test_a_store_that_is_away_is_told_once_and_looked_after_when_it_is_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.store_watch._EVERY_SECONDS", 0.01)

    async def scenario(site: Site) -> None:
        looks = 0

        async def server_id() -> str:
            nonlocal looks
            looks += 1
            return await MovingStore.server_id(site.store)

        monkeypatch.setattr(site.store, "server_id", server_id)
        await site.lose()
        site.store.fails = True
        watching = asyncio.create_task(site.watch.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while looks < 3:
                await asyncio.sleep(0.01)
            site.store.fails = False
            while await site.items("u1") != ["eggs"]:
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.wait([watching])

    with capture_logs() as lines:
        run(url, tmp_path, scenario)
    told = [line for line in lines if line["event"] == "the store is not looked after now"]
    assert len(told) == 1
