"""The store dies, hangs, fills, forgets, is wrong: every page is still answered, and state comes back."""

import asyncio
import signal
import statistics
from collections.abc import Callable

from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import AsyncClient, Connection
from tests.faults.conftest import Note, Serve
from tests.faults.load import Ask, Outcomes, steady
from tests.faults.processes import ServerProcess, store_process, until

USERS = [f"{group}-user{number}" for group in ("coffee", "garden", "music") for number in range(6)]
PER_SECOND = 30


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
        outcomes, *_ = await asyncio.gather(
            steady(asking(client), PER_SECOND, seconds), *(act(*one) for one in acts)
        )
    return outcomes


def added_ms(outcomes: Outcomes, span: tuple[float, float], beside: tuple[float, float]) -> float:
    """By how much calls of one span of time took longer than those of another, in the middle."""
    there, here = ([call.seconds for call in outcomes.between(*one).calls] for one in (beside, span))
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
        "T8", "added latency until the breaker opens", added_ms(outcomes, (2.0, 2.25), (0, 2)), "ms", "<= 5"
    )
    figure("T8", "added latency after", added_ms(outcomes, (3, 6), (0, 2)), "ms", "~ 0")


def test_t09_a_hung_store_costs_its_timeout_until_the_breaker_opens(
    shop: Workspace, serve: Serve, figure: Note
) -> None:
    with (
        store_process() as store,
        serve(shop, shop.root, "--port=0", "--clock=replay", f"--redis={store.url}") as server,
    ):
        outcomes = asyncio.run(
            while_traffic_runs(
                server.address,
                8,
                (2.0, lambda: store.send(signal.SIGSTOP)),
                (6.0, lambda: store.send(signal.SIGCONT)),
            )
        )
        assert_simpler(outcomes)
        hung = outcomes.between(2.5, 6)
        assert hung.levels() == {"NO_PERSONAL": len(hung.calls)}
        until(lambda: is_personal(server))
    figure("T9", "calls answered", share_ok(outcomes), "%", "100")
    figure(
        "T9", "added latency until the breaker opens", added_ms(outcomes, (2.0, 2.2), (0, 2)), "ms", "<= 25"
    )
    figure("T9", "added latency after", added_ms(outcomes, (3, 6), (0, 2)), "ms", "~ 0")
