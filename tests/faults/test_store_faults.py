"""The store dies, hangs, fills, forgets, is wrong: every page is still answered, and state comes back."""

import asyncio
import signal
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from recsys.user_state import UserState
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import AsyncClient, Connection
from serving.compaction import settle
from serving.loading import load_pipeline, load_states
from tests.faults.conftest import Note, Serve, copy_of
from tests.faults.fault_proxy import fault_proxy
from tests.faults.load import Ask, Outcomes, steady
from tests.faults.processes import ServerProcess, StoreProcess, store_process, until

USERS = [f"{group}-user{number}" for group in ("coffee", "garden", "music") for number in range(6)]
PER_SECOND = 20  # what two cores that others use too can bear


def asking(client: AsyncClient) -> Ask:
    """Known shoppers' home pages in turn."""
    return lambda number: client.recommend(RecommendRequest(user_id=USERS[number % len(USERS)], page_size=5))


async def while_traffic_runs(
    address: str, seconds: float, *acts: tuple[float, Callable[[], object]]
) -> Outcomes:
    """Load, and what is done to it at which second."""

    async def act(after: float, do: Callable[[], object]) -> None:
        await asyncio.sleep(after)
        await asyncio.to_thread(do)

    async with AsyncClient(Connection(address, timeout_seconds=5)) as client:
        await steady(asking(client), PER_SECOND, 1)  # connections, and whatever is slow the first time
        doing = [asyncio.create_task(act(*one)) for one in acts]
        outcomes = await steady(asking(client), PER_SECOND, seconds)
        await asyncio.gather(*doing)
    return outcomes


def added_ms(outcomes: Outcomes, beside: tuple[float, float], *spans: tuple[float, float]) -> float:
    """By how much calls of some spans of time took longer than those of another, in the middle."""
    here = [call.seconds for span in spans for call in outcomes.between(*span).calls]
    there = [call.seconds for call in outcomes.between(*beside).calls]
    return (statistics.median(here) - statistics.median(there)) * 1e3


def share_ok(outcomes: Outcomes) -> float:
    """Percentage of the calls that were answered."""
    return 100 * len(outcomes.ok().calls) / len(outcomes.calls)


def assert_simpler(outcomes: Outcomes) -> None:
    """Every page was answered and full, and those made without the shopper's state say so."""
    assert outcomes.statuses() == {"OK": len(outcomes.calls)}
    assert all(call.num_results == 5 for call in outcomes.calls)
    assert all(call.level == "NO_PERSONAL" for call in outcomes.calls if "state_unavailable" in call.reasons)


def is_personal(server: ServerProcess) -> bool:
    """Whether a shopper's answer is made from the own state."""
    with server.client() as client:
        answer = client.recommend(RecommendRequest(user_id=USERS[0], page_size=5))
    return not answer.degraded_reasons


def test_t08_a_killed_store_costs_milliseconds_and_no_page(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    with (
        store_process() as store,
        serve(shop, shop.root, "--port=0", "--clock=replay", f"--redis={store.url}") as server,
    ):
        outcomes = asyncio.run(while_traffic_runs(server.address, 6, (2.0, store.kill)))
        assert_simpler(outcomes)
        after = outcomes.between(2.5, 6)
        assert after.levels() == {"NO_PERSONAL": len(after.calls)}
        assert server.metric("recsys_state_breaker_open") == 1
        with server.client() as client:
            event = Event(event_id="t8", event_type="purchase", user_id=USERS[0], item_id="coffee-1")
            assert client.record_events([event])[0].status == EventStatus.EVENT_STATUS_ACCEPTED
        store.start()
        figure(
            "T8",
            "shoppers are known again after the store is back",
            until(lambda: is_personal(server)),
            "s",
            "<= 5",
        )
    figure("T8", "calls answered", share_ok(outcomes), "%", "100")
    figure(
        "T8", "added latency until the breaker opens", added_ms(outcomes, (0, 2), (2.0, 2.25)), "ms", "<= 5"
    )
    figure("T8", "added latency after", added_ms(outcomes, (0, 2), (3, 6)), "ms", "~ 0")


def test_t09_a_hung_store_costs_its_timeout_until_the_breaker_opens(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    hangs = [2.0, 6.0, 10.0, 14.0]  # four calls wait each time before the breaker opens
    with (
        store_process() as store,
        serve(shop, shop.root, "--port=0", "--clock=replay", f"--redis={store.url}") as server,
    ):
        acts = [(at, partial(store.send, signal.SIGSTOP)) for at in hangs]
        acts += [(at + 2.0, partial(store.send, signal.SIGCONT)) for at in hangs]
        outcomes = asyncio.run(while_traffic_runs(server.address, 20, *acts))
        assert_simpler(outcomes)
        for at in hangs:
            hung = outcomes.between(at + 0.5, at + 2)
            assert hung.levels() == {"NO_PERSONAL": len(hung.calls)}
        until(lambda: is_personal(server))
    figure("T9", "calls answered", share_ok(outcomes), "%", "100")
    waiting, after = [(at, at + 0.2) for at in hangs], [(at + 1, at + 2) for at in hangs]
    figure("T9", "added latency until the breaker opens", added_ms(outcomes, (0, 2), *waiting), "ms", "<= 25")
    figure("T9", "added latency after", added_ms(outcomes, (0, 2), *after), "ms", "~ 0")


def bought(server: ServerProcess, event_id: str, item_id: str, user_id: str = USERS[0]) -> None:
    """Record a purchase, which must be acknowledged."""
    with server.client() as client:
        event = Event(event_id=event_id, event_type="purchase", user_id=user_id, item_id=item_id)
        [result] = client.record_events([event])
    assert result.status == EventStatus.EVENT_STATUS_ACCEPTED


def with_store(store: StoreProcess) -> tuple[str, ...]:
    return "--port=0", "--clock=replay", f"--redis={store.url}"


def states_in(store: StoreProcess) -> dict[str, UserState]:
    """Every user's state in a store; one that is emptied meanwhile has fewer than it listed."""
    keys = sorted(key.decode() for key in store.ask("KEYS", "recsys:default:u:*"))
    found = {key.partition("{default:")[2].rstrip("}"): store.ask("GET", key) for key in keys}
    return {user_id: UserState.from_bytes(raw) for user_id, raw in found.items() if raw is not None}


def oracle(workspace: Workspace, directory: Path) -> dict[str, UserState]:
    """Every user's state from the log and the buffer, computed offline once the server has stopped."""
    copy = copy_of(workspace, directory)
    settle(copy)
    return dict(load_states(copy, load_pipeline(copy)))


def agree(found: dict[str, UserState], expected: dict[str, UserState]) -> None:
    """States tell the same of every user: the items, how often, when, and the sums at one moment."""
    assert found.keys() == expected.keys()
    for user_id, state in expected.items():
        mine, moment = found[user_id], state.latest_ms + 1
        order, other = np.argsort(mine.item_ids), np.argsort(state.item_ids)
        assert np.array_equal(np.asarray(mine.item_ids)[order], np.asarray(state.item_ids)[other])
        np.testing.assert_allclose(
            np.asarray(mine.decayed(moment))[order], np.asarray(state.decayed(moment))[other], rtol=1e-6
        )


def agrees(found: dict[str, UserState], expected: dict[str, UserState]) -> bool:
    """Whether states tell the same."""
    try:
        agree(found, expected)
    except AssertionError:
        return False
    return True


def test_t10_a_full_store_refuses_states_and_no_event(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    with store_process() as store, serve(shop, tmp_path / "server", *with_store(store)) as server:
        store.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        store.ask("CONFIG", "SET", "maxmemory", "1mb")
        for number in range(10):
            bought(server, f"t10-{number}", f"coffee-{number % 6}")
        outcomes = asyncio.run(while_traffic_runs(server.address, 1))
        assert outcomes.statuses() == {"OK": len(outcomes.calls)}
        assert all(call.num_results == 5 for call in outcomes.calls)
        store.ask("CONFIG", "SET", "maxmemory", "0")
        seconds = until(lambda: server.metric("recsys_unapplied_events") == 0, what="the states' catching up")
        server.kill()
        agree(states_in(store), oracle(shop, tmp_path / "oracle"))
    figure("T10", "calls answered while the store is full", share_ok(outcomes), "%", "100")
    figure("T10", "states caught up after room was made", seconds, "s", "<= 2")


def test_t11_a_store_that_comes_back_empty_is_filled_again(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    with store_process() as store, serve(shop, tmp_path / "server", *with_store(store)) as server:
        bought(server, "before", "coffee-1")
        store.kill()
        bought(server, "while it is away", "coffee-2")
        store.start()
        seconds = until(lambda: is_personal(server) and server.metric("recsys_unapplied_events") == 0)
        until(lambda: len(states_in(store)) >= 120, what="all states")
        bought(server, "after", "coffee-3")
        until(lambda: server.metric("recsys_unapplied_events") == 0)
        expected = oracle(shop, tmp_path / "oracle")  # the filling may still be under way
        until(lambda: agrees(states_in(store), expected), what="the states that the log gives")
        server.kill()
        agree(states_in(store), expected)
    figure("T11", "an emptied store holds the log's states again after", seconds, "s", "")
    figure("T11", "states that differ from the log's", 0, "", "0")


def test_t12_a_failover_that_loses_acknowledged_writes_loses_no_purchase(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    with ExitStack() as stack:
        first, second = stack.enter_context(store_process()), stack.enter_context(store_process())
        to_store = stack.enter_context(fault_proxy(("127.0.0.1", first.port)))
        replication = stack.enter_context(fault_proxy(("127.0.0.1", first.port)))
        second.ask("REPLICAOF", "127.0.0.1", str(replication.port))
        flags = ("--port=0", "--clock=replay", f"--redis=redis://{to_store.address}")
        server = stack.enter_context(serve(shop, tmp_path / "server", *flags))
        until(lambda: second.ask("INFO", "replication")["master_link_status"] == "up", what="replication")
        until(lambda: second.ask("DBSIZE") >= 120)
        bought(server, "replicated", "coffee-1")
        until(lambda: second.ask("EXISTS", "recsys:default:progress"), what="a note of progress")
        replication.weather.hangs = True
        for number in range(6):
            bought(server, f"lost {number}", f"coffee-{number}", USERS[number])
        first.kill()
        second.ask("REPLICAOF", "NO", "ONE")
        to_store.target = ("127.0.0.1", second.port)
        to_store.drop()
        lacking = states_in(second)
        expected = oracle(shop, tmp_path / "oracle")
        assert lacking[USERS[3]].latest_ms < expected[USERS[3]].latest_ms
        latest = {user_id: expected[user_id].latest_ms for user_id in USERS[:6]}

        def are_back() -> bool:
            found = states_in(second)  # they come one after the other
            return all(user_id in found and found[user_id].latest_ms == latest[user_id] for user_id in latest)

        seconds = until(are_back, what="the lost purchases")
        until(lambda: server.metric("recsys_unapplied_events") == 0)
        server.kill()
        agree(states_in(second), expected)
    figure("T12", "purchases that the replica lacked are there after", seconds, "s", "<= 60")


@pytest.mark.parametrize("wrong", ["password", "tls"])
def test_t13_a_store_that_lets_nobody_in_does_not_keep_the_server_from_starting(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note, wrong: str
) -> None:
    with store_process(requirepass="right-password") as store:
        url = f"redis://:wrong-password@127.0.0.1:{store.port}"
        if wrong == "tls":
            url = f"rediss://:right-password@127.0.0.1:{store.port}"
        with serve(shop, tmp_path / "server", "--port=0", "--clock=replay", RECSYS_REDIS_URL=url) as server:
            outcomes = asyncio.run(while_traffic_runs(server.address, 1))
            assert_simpler(outcomes)
            assert "the store is away; the server starts without states" in server.err
            assert "password" not in server.err + server.out
            bought(server, "kept", "coffee-1")
            if wrong == "password":
                store.ask("CONFIG", "SET", "requirepass", "wrong-password")
                seconds = until(lambda: is_personal(server), what="personal answers")
                figure("T13", "personal answers after the password was set right", seconds, "s", "")
    figure("T13", f"calls answered with a wrong {wrong}", share_ok(outcomes), "%", "100")


def test_t14_a_state_that_cannot_be_read_is_counted_and_made_anew(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    with store_process() as store, serve(shop, tmp_path / "server", *with_store(store)) as server:
        bought(server, "kept", "coffee-1")
        until(lambda: server.metric("recsys_unapplied_events") == 0)
        key = f"recsys:default:u:{{default:{USERS[0]}}}"
        seconds = 0.0
        for junk in (b"\x80\x04junk that a pickle might be", b"", b"\xff" * 200, store.ask("GET", key)[:-3]):
            store.ask("SET", key, junk)
            with server.client() as client:
                answer = client.recommend(RecommendRequest(user_id=USERS[0], page_size=5))
            assert len(answer.results) == 5
            seconds = until(lambda: is_personal(server), what="the state's return")
        assert server.metric("recsys_unreadable_states_total") >= 1
        server.kill()
        agree(states_in(store), oracle(shop, tmp_path / "oracle"))
    figure("T14", "a damaged state is made anew after", seconds, "s", "<= 2")
