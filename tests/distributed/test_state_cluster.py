"""The state lies on a cluster, and one of its primaries dies under load: nobody waits, nothing is lost."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import polars as pl
import pytest
import redis

from recsys.doctor.finding import Finding, Status
from recsys.doctor.store import store
from recsys.event_log import EventLog
from recsys.user_state import UserState
from recsys.v1.event_service_pb2 import Event, EventResult, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import AsyncClient, Connection
from serving.compaction import settle
from tests.distributed.store_cluster import Node, StoreCluster, slot_of, store_cluster
from tests.faults.conftest import Note, Serve, copy_of
from tests.faults.load import Outcome, Outcomes, steady
from tests.faults.processes import ENCODER_IS_THERE, ServerProcess, until
from tests.faults.test_store_faults import USERS, agree, bought, is_personal, oracle, share_ok

PER_SECOND, ONE_PAGE_OF = float(os.environ.get("RECSYS_DISTRIBUTED_RATE", "200")), 8
"""Requests per second; every eighth is for a page, the others record an event. Where three of four are for
pages, two cores that also run the cluster and make the load carry some 30."""
PATIENT = {"RECSYS_STATE_TIMEOUT_MS": "100"}
"""A store that shares two cores with all else is now and then late by more than the 20 ms of the default."""
MADE_ANEW = "another store answers, so the latest states were made anew"
SECONDS, FAILS_AFTER = 20.0, 5.0
"""How long the load lasts, and when the primary fails."""
HOW_TO_FAIL: dict[str, tuple[str, Callable[[Node], None]]] = {
    "dies": ("T60", Node.kill),
    "hangs": ("T61", lambda node: node.send(signal.SIGSTOP)),
}


def flags(cluster: StoreCluster) -> tuple[str, ...]:
    return "--port=0", "--clock=replay", f"--redis={cluster.url}"


def states_in(cluster: StoreCluster) -> dict[str, UserState]:
    """Every user's state in a cluster."""
    with cluster.client() as client:
        found = {key.decode(): client.get(key) for key in client.scan_iter("recsys:default:u:*")}
    return {
        key.partition("{default:")[2].removesuffix("}"): UserState.from_bytes(raw)
        for key, raw in found.items()
        if isinstance(raw, bytes)
    }


def num_counted(cluster: StoreCluster) -> int:
    """What the first shopper's state counts; 0 while nobody answers for it."""
    try:
        return int(states_in(cluster)[USERS[0]].counts.sum())
    except (redis.RedisError, KeyError):
        return 0


def key_of(user_id: str) -> str:
    return f"recsys:default:u:{{default:{user_id}}}"


@dataclass(frozen=True)
class Load:
    """What became of the calls of known shoppers while a primary failed."""

    outcomes: Outcomes
    accepted: set[str]
    """Ids of events that were acknowledged."""
    failed_at: float
    """When the primary failed, in seconds since the epoch."""

    @property
    def pages(self) -> list[Outcome]:
        return [call for call in self.outcomes.calls if call.level]

    @property
    def simpler(self) -> list[Outcome]:
        """Pages that were not made from all that is known of the shopper."""
        return [call for call in self.pages if call.level != "FULL" or "unknown_user" in call.reasons]

    @property
    def personal_again(self) -> float:
        """Seconds after the failure from which on every page was personal."""
        return max((call.started + call.seconds - FAILS_AFTER for call in self.simpler), default=0.0)


async def mixed_load(server: ServerProcess, fail: Callable[[], None]) -> Load:
    """Pages and events for known shoppers, while a primary fails."""
    accepted, numbers, failed = set[str](), count(), list[float]()

    async def record(client: AsyncClient, user_id: str) -> EventResult:
        event_id = f"load-{next(numbers)}"
        event = Event(event_id=event_id, event_type="purchase", user_id=user_id, item_id="coffee-1")
        [result] = await client.record_events([event])
        if result.status == EventStatus.EVENT_STATUS_ACCEPTED:
            accepted.add(event_id)
        return result

    async with AsyncClient(Connection(server.address, timeout_seconds=5)) as client:

        async def ask(number: int) -> object:
            user_id = USERS[number // ONE_PAGE_OF % len(USERS)]
            if number % ONE_PAGE_OF:
                return await record(client, user_id)
            return await client.recommend(RecommendRequest(user_id=user_id, page_size=5))

        async def fails() -> None:
            await asyncio.sleep(FAILS_AFTER)
            failed.append(time.time())
            await asyncio.to_thread(fail)

        await steady(ask, PER_SECOND / 4, 2)  # connections, and whatever is slow the first time
        failing = asyncio.create_task(fails())
        outcomes = await steady(ask, PER_SECOND, SECONDS)
        await failing
    return Load(outcomes, accepted, failed[0])


def said_after(server: ServerProcess, event: str, moment: float) -> float:
    """Seconds from a moment to when a server first logged something after it."""
    lines = [json.loads(line) for line in server.err.splitlines() if line.startswith("{")]
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines if line["event"] == event]
    return min(time.timestamp() for time in times if time.timestamp() > moment) - moment


def by_second(outcomes: Outcomes) -> list[dict[str, int]]:
    """What became of the calls of each second."""
    return [outcomes.between(second, second + 1).statuses() for second in range(int(SECONDS))]


def recorded_ids(workspace: Workspace, directory: Path) -> set[str]:
    """Every event that log and buffer hold."""
    copy = copy_of(workspace, directory)
    settle(copy)
    return set(EventLog(copy.events).scan().select(pl.col("event_id")).collect()["event_id"].drop_nulls())


@pytest.mark.parametrize("how", HOW_TO_FAIL)
def test_a_primary_that_fails_under_load_costs_no_page_and_no_event(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note, how: str
) -> None:
    row, fail = HOW_TO_FAIL[how]
    with (
        store_cluster() as cluster,
        serve(shop, tmp_path / "server", *flags(cluster), **PATIENT) as server,
    ):
        until(lambda: is_personal(server), what="personal answers")
        until(lambda: ENCODER_IS_THERE in server.err, what="the text encoder")
        primary = cluster.primary_of(key_of(USERS[0]))
        load = asyncio.run(mixed_load(server, lambda: fail(primary)))
        outcomes, pages = load.outcomes, load.pages
        assert outcomes.statuses() == {"OK": len(outcomes.calls)}, by_second(outcomes)
        assert all(call.num_results == 5 for call in pages)
        assert load.personal_again <= 5, [(call.started, call.level, call.reasons) for call in load.simpler]
        applied = until(lambda: server.metric("recsys_unapplied_events") == 0, what="the states' catching up")
        caught_up = said_after(server, "user states caught up", load.failed_at)
        until(lambda: MADE_ANEW in server.err, what="what the replica may lack")
        made_anew = said_after(server, MADE_ANEW, load.failed_at)
        primary.kill()
        assert cluster.is_whole()
        server.kill()
        agree(states_in(cluster), oracle(shop, tmp_path / "oracle"))
        lost = load.accepted - recorded_ids(shop, tmp_path / "recorded")
        assert not lost
        assert len(load.accepted) >= PER_SECOND * (1 - 1 / ONE_PAGE_OF) * SECONDS
    after = outcomes.between(FAILS_AFTER, SECONDS)
    before = outcomes.between(0, FAILS_AFTER)
    what = f"a primary {how}; requests per second, 1 of {ONE_PAGE_OF} for a page"
    figure(row, what, PER_SECOND, "1/s", "200")
    figure(row, "calls answered", share_ok(outcomes), "%", "100")
    figure(row, "pages without the shopper's state", 100 * len(load.simpler) / len(pages), "%", "")
    figure(row, "every page is personal again after", load.personal_again, "s", "<= 5")
    figure(row, "events reach the states again after", caught_up, "s", "<= 5")
    figure(row, "what the new primary may lack is made anew after", made_anew, "s", "")
    figure(row, "latency before, median", before.quantile_ms(0.5), "ms", "")
    figure(row, "latency before, 99 %", before.quantile_ms(0.99), "ms", "")
    figure(row, "latency from the failure on, median", after.quantile_ms(0.5), "ms", "")
    figure(row, "latency from the failure on, 99 %", after.quantile_ms(0.99), "ms", "")
    figure(row, "events not in the states at the end of the load, applied after", applied, "s", "")
    figure(row, "acknowledged events lost", len(lost), "", "0")


def test_events_that_the_failover_lost_come_back_from_the_buffer(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    with store_cluster() as cluster, serve(shop, tmp_path / "server", *flags(cluster)) as server:
        until(lambda: is_personal(server), what="personal answers")
        bought(server, "replicated", "coffee-1")
        until(lambda: server.metric("recsys_unapplied_events") == 0)
        time.sleep(1.5)  # a note of progress reaches the replica
        primary = cluster.primary_of(key_of(USERS[0]))
        primary.ask("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
        primary.ask("CLIENT", "KILL", "TYPE", "replica")  # it is not let in again: replication has stopped
        for number in range(6):
            bought(server, f"lost {number}", f"coffee-{number}", USERS[0])
        until(lambda: server.metric("recsys_unapplied_events") == 0)
        primary.kill()
        bought(server, "afterwards", "coffee-5", USERS[0])  # on top of a state that lacks what came before
        until(cluster.is_whole, what="the failover")
        expected = oracle(shop, tmp_path / "oracle")[USERS[0]]
        seconds = until(
            lambda: num_counted(cluster) == expected.counts.sum(),
            what="the lost purchases",
        )
        until(lambda: server.metric("recsys_unapplied_events") == 0)
        server.kill()
        agree(states_in(cluster), oracle(shop, tmp_path / "later"))
        assert MADE_ANEW in server.err
    figure("T62", "purchases that the replica lacked are there after", seconds, "s", "<= 5")


def test_a_server_starts_while_the_cluster_is_away_and_finds_it(
    shop: Workspace, serve: Serve, tmp_path: Path
) -> None:
    with store_cluster() as cluster:
        nodes = cluster.nodes
        for node in nodes:
            node.kill()
        with serve(shop, tmp_path / "server", *flags(cluster)) as server:
            with server.client() as client:
                answer = client.recommend(RecommendRequest(user_id=USERS[0], page_size=5))
            assert len(answer.results) == 5
            assert "state_unavailable" in answer.degraded_reasons
            for node in nodes:
                node.start()
            until(lambda: is_personal(server), what="personal answers")
            until(lambda: server.metric("recsys_unapplied_events") == 0)
            until(lambda: len(states_in(cluster)) >= 120, what="all states")
            server.kill()
            agree(states_in(cluster), oracle(shop, tmp_path / "oracle"))


def test_the_doctor_finds_the_cluster_and_misses_it() -> None:
    with store_cluster() as cluster:
        check, _ = store(cluster.url)["redis"]
        assert check() == Finding(Status.OK, "a cluster of 3 primaries answers")
        for node in cluster.nodes:
            node.kill()
        assert check().status is Status.MISSING


def test_shoppers_are_spread_over_the_primaries() -> None:
    slots = [slot_of(key_of(user_id)) for user_id in USERS]
    assert {slot // 5462 for slot in slots} == {0, 1, 2}
