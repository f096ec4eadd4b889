"""Tests of the user states in a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import redis

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from recsys.user_state import UserState
from serving.embedded_store import embedded_store
from serving.event import VISITOR_PREFIX, BufferedEvent
from serving.state_store import StateStore
from serving.store_clients import connect
from tests.serving.running import PATIENCE_SECONDS
from tests.serving.small_shop import NOON, make_event

CONFIG = StateConfig()
PURCHASE = EVENT_TYPE_CODES["purchase"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as where:
        yield where


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        client.flushall()
        yield client


@asynccontextmanager
async def opened(url: str, config: StateConfig = CONFIG, tenant: str = "t") -> AsyncIterator[StateStore]:
    store = StateStore(connect(url, int(PATIENCE_SECONDS * 1000)), tenant, config)
    try:
        yield store
    finally:
        await store.close()


def bought(item_id: str, time_ms: int = NOON) -> UserState:
    state = UserState(CONFIG.half_lives_days)
    state.apply(item_id, PURCHASE, time_ms, is_purchase=True, max_rows=10)
    return state


def test_events_build_the_state_that_the_rules_say(url: str, raw: redis.Redis) -> None:
    async def scenario() -> UserState | None:
        async with opened(url) as store:
            first = make_event("1", "purchase", time_ms=NOON)
            again = make_event("2", "purchase", time_ms=NOON + 7 * DAY_MS)
            await store.apply("u", [BufferedEvent(4, first), BufferedEvent(5, again)])
            return await store.get("u")

    state = asyncio.run(scenario())
    assert state is not None
    assert (state.item_ids, state.applied_sequence) == (["bread"], 5)
    expected = [[1 + 2 ** (-7 / half_life) for half_life in CONFIG.half_lives_days]]
    np.testing.assert_allclose(state.sums, expected)
    assert state.basket_ms.tolist() == [NOON, NOON + 7 * DAY_MS]
    assert raw.keys() == [b"recsys:t:u:{t:u}"]


def test_what_was_applied_before_changes_nothing(url: str, raw: redis.Redis) -> None:
    async def scenario() -> UserState | None:
        async with opened(url) as store:
            await store.apply("u", [BufferedEvent(7, make_event("7"))])
            await store.apply("u", [BufferedEvent(6, make_event("6")), BufferedEvent(7, make_event("7"))])
            await store.apply("u", [BufferedEvent(8, make_event("8", "view"))])
            return await store.get("u")

    state = asyncio.run(scenario())
    assert state is not None
    assert (state.counts.tolist(), state.applied_sequence) == ([1, 1], 8)
    assert raw.dbsize() == 1


def test_event_types_without_a_weight_are_not_remembered(url: str, raw: redis.Redis) -> None:
    async def scenario() -> UserState | None:
        async with opened(url, StateConfig(event_weights={"purchase": 1.0})) as store:
            await store.apply("u", [BufferedEvent(1, make_event("1", "share"))])
            return await store.get("u")

    assert asyncio.run(scenario()) is None
    assert raw.dbsize() == 0


def test_only_purchases_are_baskets(url: str, raw: redis.Redis) -> None:
    async def scenario() -> UserState | None:
        async with opened(url) as store:
            await store.apply("u", [BufferedEvent(1, make_event("1", "view"))])
            return await store.get("u")

    state = asyncio.run(scenario())
    assert state is not None
    assert state.basket_ms.size == 0
    assert raw.dbsize() == 1


def test_concurrent_writers_lose_nothing(url: str, raw: redis.Redis) -> None:
    async def scenario() -> UserState | None:
        async with opened(url) as one, opened(url) as two:
            for n in range(1, 21, 2):
                event, other = make_event(item_id=f"i{n}"), make_event(item_id=f"i{n + 1}")
                both = [BufferedEvent(n, event), BufferedEvent(n + 1, other)]
                await asyncio.gather(one.apply("u", both), two.apply("u", both))
            return await one.get("u")

    state = asyncio.run(scenario())
    assert state is not None
    assert (state.num_rows, state.counts.tolist()) == (20, [1] * 20)
    assert raw.dbsize() == 1


def test_every_key_expires_after_the_maximum_age_and_a_day(url: str, raw: redis.Redis) -> None:
    async def scenario() -> None:
        async with opened(url, StateConfig(max_age_days=10)) as store:
            await store.load([("loaded", bought("eggs"))], "log 1")
            await store.apply("applied", [BufferedEvent(1, make_event())])

    asyncio.run(scenario())
    ttls = {key: raw.ttl(key) for key in raw.scan_iter()}
    assert len(ttls) == 3
    assert all(11 * 86_400 - 60 <= ttl <= 11 * 86_400 for ttl in ttls.values())


def test_loading_replaces_what_was_there_and_is_recognised(url: str, raw: redis.Redis) -> None:
    async def scenario() -> None:
        async with opened(url) as store, opened(url, tenant="other") as other:
            await other.load([("u1", bought("dates"))], "log 1")
            await store.load(((f"u{n}", bought("eggs")) for n in range(1200)), "log 1")
            assert await store.is_loaded("log 1")
            assert not await store.is_loaded("log 2")
            assert await store.load([("u1", bought("bread"))], "log 2") == 1
            assert await store.get("u2") is None
            replaced, untouched = await store.get("u1"), await other.get("u1")
            assert replaced is not None
            assert untouched is not None
            assert (replaced.item_ids, untouched.item_ids) == (["bread"], ["dates"])

    asyncio.run(scenario())
    assert raw.dbsize() == 4


def test_states_of_another_configuration_are_not_recognised(url: str, raw: redis.Redis) -> None:
    async def scenario() -> None:
        async with opened(url) as store, opened(url, StateConfig(half_lives_days=(1.0,))) as changed:
            await store.load([("u", bought("eggs"))], "log 1")
            assert not await changed.is_loaded("log 1")
            assert await changed.get("u") is None
            assert changed.records.num_unreadable == 1

    asyncio.run(scenario())
    assert raw.dbsize() == 2


def test_a_damaged_state_is_absent_and_counted_and_heals(url: str, raw: redis.Redis) -> None:
    async def scenario() -> None:
        async with opened(url) as store:
            await store.load([("u", bought("eggs"))], "log 1")
            raw.set("recsys:t:u:{t:u}", b"\x01junk")
            assert await store.get("u") is None
            assert await store.get("u") is None
            assert store.records.num_unreadable == 2
            await store.apply("u", [BufferedEvent(1, make_event())])
            assert await store.get("u") is not None

    asyncio.run(scenario())


@pytest.mark.parametrize("user_id", ["", "}", "{a}b", "a:b*\n", "ü" * 100, "nul\x00"])
def test_any_user_id_has_a_key_of_its_own(url: str, raw: redis.Redis, user_id: str) -> None:
    async def scenario() -> None:
        async with opened(url) as store:
            await store.apply(user_id, [BufferedEvent(1, make_event(item_id="mine"))])
            await store.apply(user_id + "x", [BufferedEvent(2, make_event(item_id="other"))])
            mine = await store.get(user_id)
            assert mine is not None
            assert mine.item_ids == ["mine"]

    asyncio.run(scenario())
    assert raw.dbsize() == 2


def test_a_store_that_is_away_is_a_store_error() -> None:
    async def scenario() -> None:
        with embedded_store() as gone:
            pass
        async with opened(gone) as store:
            with pytest.raises(StoreError):
                await store.get("u")
            with pytest.raises(StoreError):
                await store.apply("u", [BufferedEvent(1, make_event())])
            with pytest.raises(StoreError):
                await store.load([], "log 1")

    asyncio.run(scenario())


def test_a_wrong_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(StoreError) as caught:
        connect("http://user:hunter2@shop", 20)
    assert "hunter2" not in str(caught.value)


def test_an_erased_visitor_is_forgotten_by_the_users_who_were_it(url: str, raw: redis.Redis) -> None:
    gone, other = VISITOR_PREFIX + "gone", VISITOR_PREFIX + "other"

    async def scenario() -> list[tuple[str | None, bool]]:
        async with opened(url) as store:
            await store.learn_origins([("one", gone), ("two", gone), ("three", other), ("four", "four")])
            await store.erase([gone], NOON)
            return [await store.origin(user_id) for user_id in ("one", "two", "three", "four")]

    assert asyncio.run(scenario()) == [(None, False), (None, False), (other, False), ("four", False)]
    assert raw.mget(sorted(raw.keys())) == [b"four", other.encode()]


def test_marks_go_with_somebody_whose_state_was_lost(url: str, raw: redis.Redis) -> None:
    async def scenario() -> None:
        store = StateStore(connect(url, int(PATIENCE_SECONDS * 1000)), "t", CONFIG, source="events/0")
        await store.apply("u", [BufferedEvent(4, make_event("4"))])
        assert await store.marks("u") == {"events/0": 4}
        assert await store.marks("nobody") == {}
        raw.delete(store.keys.state("u"))
        await store.erase(["u"], NOON)
        await store.close()

    asyncio.run(scenario())
    assert raw.keys() == []


def test_a_server_that_took_over_again_is_told_from_what_it_was(url: str, raw: redis.Redis) -> None:
    async def scenario() -> None:
        async with opened(url) as store:
            before, process = await store.server_id(), raw.info("server")["run_id"]
            assert await store.server_id() == before
            raw.replicaof("127.0.0.1", "1")  # another one takes over, and then this one again
            raw.replicaof("NO", "ONE")
            assert await store.server_id() != before
            assert raw.info("server")["run_id"] == process

    asyncio.run(scenario())
