"""Tests of visitors who log in: online, in the log, and in what is rebuilt from it."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from features.states import every_state, states_at
from recsys.config import Config
from recsys.event_log import EventLog
from recsys.schema import AS_OF, DAY_MS, USER_ID
from recsys.user_state import UserState
from recsys.v1.event_service_pb2 import Event as EventMessage
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import Client
from serving.compaction import compact
from serving.embedded_store import embedded_store
from serving.event import VISITOR_PREFIX, Event, Merge
from serving.event_buffer import SqliteEventBuffer
from serving.log_sync import LogSync
from serving.models import Model, Models
from serving.origins import origins_in
from serving.state_changes import StateChanges
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.store_clients import connect
from serving.visitor_link import VisitorLink
from tests.features.small_log import CATALOGUE, CONFIG, ITEM_IDS, query_frame
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import NOON, SmallPipeline, make_event

V = VISITOR_PREFIX + "v"
Rows = Mapping[tuple[str, int], tuple[object, ...]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as where:
        yield where


@asynccontextmanager
async def opened(url: str, tenant: str, config: Config = CONFIG) -> AsyncIterator[StateStore]:
    store = StateStore(connect(url, 30_000), tenant, config.state)
    try:
        yield store
    finally:
        await store.close()


def contents(state: UserState | None) -> tuple[Rows, list[int]]:
    """What a state says, in no order of rows; sums to nine digits."""
    if state is None:
        return {}, []
    sums = [tuple(pytest.approx(value, rel=1e-9, abs=1e-9) for value in row) for row in state.sums.tolist()]
    keys = zip(state.item_ids, state.event_types.tolist(), strict=True)
    columns = (state.first_ms.tolist(), state.last_ms.tolist(), state.counts.tolist())
    return dict(zip(keys, zip(sums, *columns, strict=True), strict=True)), state.basket_ms.tolist()


def rebuilt(log: EventLog) -> dict[str, UserState]:
    return dict(every_state(log.scan(), (log.end_ms() or 0) + 1, CATALOGUE, CONFIG))


def record(buffer: SqliteEventBuffer, *records: Event | Merge) -> list[int | None]:
    return buffer.append(records).result()


def test_a_login_makes_the_visitors_history_the_users(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
    ):

        def best(**asked: str) -> str:
            return client.recommend(RecommendRequest(**asked)).results[0].item_id  # type: ignore[arg-type]  # ids

        def buy(item_id: str, **who: str) -> None:
            client.record_events([EventMessage(event_type="purchase", item_id=item_id, **who)])  # type: ignore[arg-type]  # ids

        buy("dates", visitor_id="v")
        assert best(user_id="u", visitor_id="v") == "apples"  # reading merges nothing
        assert best(user_id="u") == "apples"
        buy("eggs", user_id="u", visitor_id="v")
        buy("dates", visitor_id="v")
        assert best(user_id="u") == best(visitor_id="v") == "dates"
        buy("cheese", user_id="w", visitor_id="v")
        buy("cheese", visitor_id="v")
        assert best(user_id="w") == best(visitor_id="v") == "cheese"
        assert best(user_id="u") == "dates"
    with running_server(tmp_path) as address, Client(address, timeout_seconds=PATIENCE_SECONDS) as client:
        client.record_events([EventMessage(event_type="view", item_id="eggs", visitor_id="v")])
        answer = client.recommend(RecommendRequest(user_id="w"))
        assert answer.results[0].item_id == "eggs"  # it is known again who the visitor is
    log = EventLog(tmp_path / "events")
    assert log.merges().select("visitor", "user_id").rows() == [(V, "u"), (V, "w")]
    assert dict(origins_in(log)) == {"u": V, "w": V}  # though the login's own events came a little before
    who = log.scan().sort("effective_time").collect()
    assert who["user_id"].to_list() == [V, "u", "u", "w", "w", "w"]
    assert who["merged_into"].to_list() == ["u", None, None, None, None, None]


def test_a_repeated_login_is_recorded_once(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        login = Merge(V, "u", NOON)
        assert record(buffer, login, replace(login, merge_time=NOON + 5)) == [1, None]
        assert record(buffer, replace(login, user_id="w")) == [2]
        assert record(buffer, replace(login, merge_time=NOON + 9)) == [3]
        times = [b.merge.merge_time for b in buffer.since(0, 10) if b.merge]
        assert times == [NOON, NOON + 1, NOON + 9]


def test_a_merge_is_never_before_what_it_takes_over(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        record(buffer, make_event("ahead", user_id=V, time_ms=NOON + 50), Merge(V, "u", NOON))
        merge = buffer.since(1, 1)[0].merge
        assert merge is not None
        assert merge.merge_time == NOON + 50


def test_a_late_event_stays_the_visitors_in_the_log_and_counts_for_the_user(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        late = make_event("late", user_id=V, time_ms=NOON - 5)
        record(buffer, Merge(V, "u", NOON), late, make_event("new", user_id=V, time_ms=NOON + 5))
        _, first, second = buffer.since(0, 10)
        assert (first.event.user_id, first.owner) == (V, "u")
        assert (second.event.user_id, second.owner) == ("u", "u")


@pytest.mark.parametrize("crash_before_link", [True, False])
def test_a_merge_that_is_repeated_or_cut_short_counts_once(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, *, crash_before_link: bool
) -> None:
    tenant = f"crash-{crash_before_link}"

    async def scenario(buffer: SqliteEventBuffer) -> tuple[UserState | None, UserState | None]:
        async with opened(url, tenant) as store:
            if crash_before_link:
                with monkeypatch.context() as patch:
                    patch.delattr(StateChanges, "link")
                    with pytest.raises(AttributeError):
                        await StateUpdater(buffer, store, Models(Model(SmallPipeline()))).catch_up()
            for _ in range(3):
                await StateUpdater(buffer, store, Models(Model(SmallPipeline()))).catch_up()
            return await store.get("u"), await store.get(V)

    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        record(
            buffer,
            make_event("1", user_id="u"),
            make_event("2", user_id=V, time_ms=NOON + DAY_MS),
            Merge(V, "u", NOON + DAY_MS),
            make_event("3", user_id="u", time_ms=NOON + 2 * DAY_MS),
        )
        state, through_visitor = asyncio.run(scenario(buffer))
    assert state is not None
    assert state.counts.tolist() == [3]
    assert state.basket_ms.size == 3
    assert contents(through_visitor) == contents(state)
    with redis.Redis.from_url(url) as raw:
        held = raw.get(f"recsys:{tenant}:u:{{{tenant}:{V}}}")
    assert VisitorLink.from_bytes(held if isinstance(held, bytes) else b"") == VisitorLink("u", 3)


def test_workers_that_lag_behind_do_not_bring_a_visitor_back(tmp_path: Path, url: str) -> None:
    async def scenario(buffer: SqliteEventBuffer) -> list[int]:
        async with opened(url, "lag") as store:
            slow = buffer.since(0, 1)
            await StateUpdater(buffer, store, Models(Model(SmallPipeline()))).catch_up()
            await store.apply(slow[0].owner, slow)
            await store.merge(V, VisitorLink("u", 2))
            state = await store.get(V)
            assert state is not None
            return [int(count) for count in state.counts]

    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        record(buffer, make_event("1", user_id=V), Merge(V, "u", NOON))
        assert asyncio.run(scenario(buffer)) == [1]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_rebuilt_from_the_log_is_what_was_online(tmp_path: Path, url: str, seed: int) -> None:
    draw, log = random.Random(seed), EventLog(tmp_path / "events")
    people = ["ann", "bob", *(VISITOR_PREFIX + name for name in "xyz")]

    def drawn(number: int, now_ms: int) -> Event | Merge:
        if draw.random() < 0.15:
            return Merge(draw.choice(people[2:]), draw.choice(people[:2]), now_ms)
        late_ms = draw.choice([0, 0, 1, 5, 20]) * DAY_MS // 10
        happened, item_id = now_ms - late_ms, draw.choice(ITEM_IDS)
        kind = draw.choice(["purchase", "view", "impression"])
        return Event(f"e{number}", kind, draw.choice(people), item_id, happened, now_ms)

    async def scenario(buffer: SqliteEventBuffer) -> dict[str, UserState | None]:
        async with opened(url, f"rebuilt-{seed}") as store:
            workers = [StateUpdater(buffer, store, Models(Model(SmallPipeline()))) for _ in range(2)]
            for number in range(120):
                now_ms = NOON + number // 2 * DAY_MS // 10
                await asyncio.to_thread(record, buffer, drawn(number, now_ms))
                if draw.random() < 0.3:
                    await draw.choice(workers).catch_up()
                if draw.random() < 0.05:
                    await asyncio.gather(*(worker.catch_up() for worker in workers))
                    await asyncio.to_thread(compact, buffer, log, through=workers[0].applied)
            await asyncio.gather(*(worker.catch_up() for worker in workers))
            await asyncio.to_thread(compact, buffer, log, through=workers[0].applied)
            return {who: await store.get(who) for who in people}

    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        online = asyncio.run(scenario(buffer))
    offline = rebuilt(log)
    merged = set(log.merges()["visitor"])
    assert merged
    for who in people:
        if who not in merged:
            assert contents(online[who]) == contents(offline.get(who))


def test_nothing_is_the_users_before_the_login(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        record(buffer, make_event("1", user_id=V, item_id=ITEM_IDS[0]), Merge(V, "u", NOON + 10))
        compact(buffer, log, through=2)
    moments = [("u", NOON + 10), (V, NOON + 10), ("u", NOON + 11), (V, NOON + 11)]
    queries = query_frame(moments).select(USER_ID, AS_OF)
    sizes = [state.num_rows for _, state in states_at(log.scan(), queries, CATALOGUE, CONFIG)]
    assert sizes == [0, 1, 1, 0]
    assert "merged_into" not in log.scan(NOON + 10).collect_schema()
    assert log.end_ms() == NOON + 10


def test_a_store_that_was_lost_knows_the_visitors_again(tmp_path: Path, url: str) -> None:
    log = EventLog(tmp_path / "events")
    bread = ITEM_IDS[0]
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        record(buffer, make_event("1", user_id=V, item_id=bread), Merge(V, "u", NOON))
        compact(buffer, log, through=2)

    async def scenario(buffer: SqliteEventBuffer) -> UserState | None:
        async with opened(url, "lost") as store:
            updater = StateUpdater(buffer, store, Models(Model(SmallPipeline())))
            await LogSync(log, buffer, store, updater, tmp_path / "lock").load(rebuilt(log).items())
            record(buffer, make_event("2", user_id=V, item_id=bread, time_ms=NOON + 1))
            await updater.catch_up()
            return await store.get(V)

    with closing(SqliteEventBuffer(tmp_path / "another.sqlite")) as buffer:  # the first one was lost too
        state = asyncio.run(scenario(buffer))
    assert state is not None
    assert state.counts.tolist() == [2]
