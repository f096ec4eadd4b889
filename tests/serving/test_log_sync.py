"""Tests of what passes between the log, the buffer and the store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from recsys.config import StateConfig
from recsys.event_log import EventLog
from recsys.user_state import UserState
from serving.embedded_store import embedded_store
from serving.event import event_frame
from serving.event_buffer import SqliteEventBuffer
from serving.log_sync import LogSync
from serving.models import Model, Models
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_clients import connect
from tests.serving.small_shop import NOON, SmallPipeline, make_event

CONFIG = StateConfig()


def states_of_the_log() -> Iterator[tuple[str, UserState]]:
    state = UserState(CONFIG.half_lives_days)
    state.apply("eggs", 4, NOON, is_purchase=True, max_rows=10)
    yield "u1", state


def unread() -> Iterator[tuple[str, UserState]]:
    yield from (pytest.fail("the states are in the store already") for _ in range(1))


@asynccontextmanager
async def started(
    url: str, root: Path, states: Iterator[tuple[str, UserState]]
) -> AsyncIterator[tuple[LogSync, StateStore, SqliteEventBuffer, StateUpdater]]:
    with closing(SqliteEventBuffer(root / "b.sqlite")) as buffer:
        store = StateStore(connect(url, 30_000), "t", CONFIG)
        updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
        sync = LogSync(EventLog(root / "events"), buffer, store, updater, root / "lock")
        try:
            await sync.load(states)
            yield sync, store, buffer, updater
        finally:
            await store.close()


def test_the_store_holds_the_log_and_then_the_buffer(tmp_path: Path) -> None:
    async def scenario() -> None:
        with embedded_store() as url:
            async with started(url, tmp_path, states_of_the_log()) as (_, store, buffer, updater):
                await asyncio.wrap_future(buffer.append([make_event("new", item_id="dates")]))
                await updater.catch_up()
                state = await store.get("u1")
                assert state is not None
                assert sorted(state.item_ids) == ["dates", "eggs"]

    asyncio.run(scenario())


def test_a_second_start_on_the_same_store_loads_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        with embedded_store() as url:
            async with started(url, tmp_path, states_of_the_log()) as (sync, _, buffer, updater):
                await asyncio.wrap_future(buffer.append([make_event("new", item_id="dates")]))
                await updater.catch_up()
                await sync.compact()
                assert EventLog(tmp_path / "events").event_ids().to_list() == ["new"]
            async with started(url, tmp_path, unread()) as (_, store, _, _):
                state = await store.get("u1")
                assert state is not None
                assert sorted(state.item_ids) == ["dates", "eggs"]
                assert state.counts.tolist() == [1, 1]

    asyncio.run(scenario())


def test_a_log_that_somebody_else_added_to_is_loaded_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        with embedded_store() as url:
            async with started(url, tmp_path, iter(())) as (sync, _, buffer, updater):
                EventLog(tmp_path / "events").append(event_frame([make_event("ingested")]), "ingest-1")
                await asyncio.wrap_future(buffer.append([make_event("new", item_id="dates")]))
                await updater.catch_up()
                await sync.compact()
            async with started(url, tmp_path, states_of_the_log()) as (_, store, _, _):
                state = await store.get("u1")
                assert state is not None
                assert state.item_ids == ["eggs"]

    asyncio.run(scenario())


def test_only_what_was_applied_leaves_the_buffer(tmp_path: Path) -> None:
    async def scenario() -> None:
        with embedded_store() as url:
            async with started(url, tmp_path, iter(())) as (sync, _, buffer, _):
                await asyncio.wrap_future(buffer.append([make_event("new")]))
                await sync.compact()
                assert len(buffer.since(0, 10)) == 1

    asyncio.run(scenario())
