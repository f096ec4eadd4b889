"""Tests of the way from the buffer into the states."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
import redis

from recsys.config import StateConfig
from recsys.schema import EVENT_TYPE_CODES
from serving.embedded_store import embedded_store
from serving.event_buffer import SqliteEventBuffer
from serving.models import Model, Models
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_clients import connect
from tests.serving.running import PATIENCE_SECONDS
from tests.serving.small_shop import NOON, SmallPipeline, make_event

PURCHASE = EVENT_TYPE_CODES["purchase"]


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[SqliteEventBuffer]:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as opened:
        yield opened


@asynccontextmanager
async def opened(url: str, timeout_ms: int = 30_000) -> AsyncIterator[StateStore]:
    store = StateStore(connect(url, timeout_ms), "t", StateConfig())
    try:
        yield store
    finally:
        await store.close()


def test_a_start_applies_everything_in_order(buffer: SqliteEventBuffer) -> None:
    buffer.append([make_event(f"e{n}", user_id=f"u{n % 13}") for n in range(1500)]).result()
    pipeline = SmallPipeline()

    async def scenario() -> None:
        with embedded_store() as url:
            async with opened(url) as store:
                updater = StateUpdater(buffer, store, Models(Model(pipeline)))
                await updater.catch_up()
                assert updater.applied == 1500
                state = await store.get("u0")
                assert state is not None
                assert state.counts.tolist() == [116]  # 0, 13, ..., 1495

    asyncio.run(scenario())
    assert pipeline.recorded == [("bread", PURCHASE, NOON)] * 1500


def test_waiting_ends_when_the_event_is_visible(buffer: SqliteEventBuffer) -> None:
    async def scenario() -> None:
        with embedded_store() as url:
            async with opened(url) as store:
                updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
                task = asyncio.create_task(updater.run())
                [sequence] = await asyncio.wrap_future(buffer.append([make_event()]))
                assert sequence is not None
                await updater.wait_applied(sequence, PATIENCE_SECONDS)
                assert await store.get("u1") is not None
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(scenario())


def test_a_store_that_comes_back_misses_nothing(buffer: SqliteEventBuffer) -> None:
    """Writes are refused by a full store, then accepted again."""
    pipeline = SmallPipeline()

    async def scenario() -> None:
        with embedded_store() as url, redis.Redis.from_url(url) as admin:
            async with opened(url) as store:
                updater = StateUpdater(buffer, store, Models(Model(pipeline)))
                admin.config_set("maxmemory", 1)
                task = asyncio.create_task(updater.run())
                [first] = await asyncio.wrap_future(buffer.append([make_event("a", item_id="eggs")]))
                [second] = await asyncio.wrap_future(buffer.append([make_event("b", item_id="dates")]))
                assert first is not None
                assert second is not None
                await updater.wait_applied(second, PATIENCE_SECONDS)
                assert updater.is_behind
                assert updater.applied < first
                admin.config_set("maxmemory", 0)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while updater.applied < second:
                        await asyncio.sleep(0.01)
                state = await store.get("u1")
                assert state is not None
                assert (sorted(state.item_ids), state.counts.tolist()) == (["dates", "eggs"], [1, 1])
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(scenario())
    assert [item_id for item_id, _, _ in pipeline.recorded] == ["eggs", "dates"]


def test_waiting_gives_up_at_its_timeout(buffer: SqliteEventBuffer) -> None:
    async def scenario() -> None:
        async with opened("redis://127.0.0.1:1") as store:
            updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
            await updater.wait_applied(1, 0.01)
            assert updater.applied == 0

    asyncio.run(scenario())
