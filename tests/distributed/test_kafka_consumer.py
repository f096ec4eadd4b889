"""No acknowledged event is lost and none has two effects, whoever is killed, and whenever."""

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import grpc
import pytest
import redis

from recsys.config import StateConfig
from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.schema import EVENT_ID, ITEM_ID, USER_ID
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client, Connection
from serving.embedded_store import embedded_store
from serving.fillings import Fillings
from serving.state_keys import StateKeys
from serving.state_store import StateStore
from serving.store_clients import connect
from tests.distributed.kafka_brokers import REAL, WITHOUT_REAL, brokers
from tests.distributed.kafka_processes import Site
from tests.distributed.store_cluster import store_cluster
from tests.serving.kafka_topic import failing_store
from tests.serving.small_shop import ITEM_IDS

POINTS = (
    "records-taken",
    "state-applied",
    "compaction-claimed",
    "log-written",
    "log-committed",
    "compaction-appended",
    "compaction-released",
    "offsets-moved",
)
"""Where consumers are killed, each at its own."""
USERS = 7
BATCH = 5
PATIENCE_SECONDS = 60.0


@pytest.fixture(
    params=["mock", pytest.param("real", marks=pytest.mark.skipif(not REAL, reason=WITHOUT_REAL))]
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    servers = REAL if request.param == "real" else ""
    with embedded_store() as store, brokers(servers) as found, ExitStack() as held:
        yield Site(tmp_path, store, found, held)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.02)


def purchase(number: int) -> Event:
    return Event(
        event_id=f"e{number}",
        event_type="purchase",
        user_id=f"u{number % USERS}",
        item_id=ITEM_IDS[number % len(ITEM_IDS)],
    )


class Shop:
    """Sends events from several threads, each until it is acknowledged, to whatever server there is."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.acknowledged: set[str] = set()
        self.num_failed = 0
        self._closed = threading.Event()
        self._batches = count()
        self._threads = [threading.Thread(target=self._send) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Send no more; everything that was sent is acknowledged."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self._closed.wait(0.01):
            first = next(self._batches) * BATCH
            events = [purchase(number) for number in range(first, first + BATCH)]
            while not self._try(events):
                self.num_failed += 1
                time.sleep(0.05)

    def _try(self, events: list[Event]) -> bool:
        try:
            with Client(Connection(self.address, timeout_seconds=5)) as client:
                results = client.record_events(events)
        except grpc.RpcError:
            return False
        assert all(one.status == EventStatus.EVENT_STATUS_ACCEPTED for one in results)
        self.acknowledged |= {one.event_id for one in results}
        return True


def logged(root: Path) -> list[tuple[str, str, str]]:
    return EventLog(Workspace(root).events).scan().select(EVENT_ID, USER_ID, ITEM_ID).collect().rows()


def remembered(store: str) -> Counter[tuple[str, str]]:
    """How often each user took each item, as the online states say."""

    async def read() -> Counter[tuple[str, str]]:
        found, client = Counter[tuple[str, str]](), connect(store, 5000)
        for number in range(USERS):
            state = await StateStore(client, "default", StateConfig()).get(f"u{number}")
            if state is not None:
                for item_id, count in zip(state.item_ids, state.counts.tolist(), strict=True):
                    found[f"u{number}", item_id] += count
        await client.aclose()
        return found

    return asyncio.run(read())


def assert_each_once(site: Site, acknowledged: set[str]) -> None:
    """Whatever was acknowledged is in the log once, and the states are the log's."""
    rows = logged(site.root)
    ids = [event_id for event_id, _, _ in rows]
    assert acknowledged <= set(ids)
    assert len(ids) == len(set(ids))
    assert remembered(site.store) == Counter((user, item) for _, user, item in rows)


def test_what_was_recorded_shows_in_answers_and_counts_once_however_often_it_is_sent(site: Site) -> None:
    consumer = site.consume()
    _, address = site.serve()
    with Client(Connection(address, timeout_seconds=30)) as client:
        event = Event(event_id="e1", event_type="purchase", user_id="u1", item_id=ITEM_IDS[-1])
        for _ in range(3):
            [result] = client.record_events([event])
            assert result.status == EventStatus.EVENT_STATUS_ACCEPTED
        asked = RecommendRequest(user_id="u1")
        until(lambda: client.recommend(asked).results[0].item_id == ITEM_IDS[-1], "the purchase shows")
    finish(site, consumer, 1)
    assert logged(site.root) == [("e1", "u1", ITEM_IDS[-1])]
    assert_each_once(site, {"e1"})


def test_nothing_is_lost_or_doubled_by_kills_of_servers_and_of_consumers_that_read_the_same(
    site: Site,
) -> None:
    # Each consumer is a group of its own, so that all of them read every partition, and nobody keeps order
    # among them but what they write.
    consumers = [site.consume(point, group=point) for point in POINTS]
    server, address = site.serve("events-sent:60")
    with closing(Shop(address)) as shop:
        server.join(PATIENCE_SECONDS)
        assert server.exitcode == EXIT_CODE
        server, shop.address = site.serve("events-delivered:60")
        server.join(PATIENCE_SECONDS)
        assert server.exitcode == EXIT_CODE
        server, shop.address = site.serve()
        num_before = len(shop.acknowledged)
        until(lambda: len(shop.acknowledged) > num_before + 50, "the third server takes events in")
        server.kill()
        server, shop.address = site.serve()
        until(lambda: not any(one.is_alive() for one in consumers), "every consumer dies at its point")
    assert {one.exitcode for one in consumers} == {EXIT_CODE}
    assert shop.num_failed
    finish(site, site.consume(), len(shop.acknowledged))
    assert_each_once(site, shop.acknowledged)


def test_nothing_is_lost_or_doubled_by_members_that_join_and_members_that_die(site: Site) -> None:
    first = site.consume(group="ours")
    _, address = site.serve()
    with closing(Shop(address)) as shop:
        until(lambda: logged(site.root), "the first member moves something")
        second = site.consume(group="ours")
        num_before = len(logged(site.root))
        until(lambda: len(logged(site.root)) > num_before + 200, "two members move something")
        first.kill()
        first.join()
        third = site.consume("compaction-appended:2", group="ours")
        third.join(PATIENCE_SECONDS)
        assert third.exitcode == EXIT_CODE
    finish(site, second, len(shop.acknowledged))
    assert_each_once(site, shop.acknowledged)


def test_nothing_is_lost_or_doubled_by_a_store_that_is_emptied_under_two_members(site: Site) -> None:
    members = [site.consume(group="ours") for _ in range(2)]
    _, address = site.serve()
    with closing(Shop(address)) as shop, redis.Redis.from_url(site.store) as store:
        for _ in range(2):
            until_more(site, 100)
            store.flushall()
        until_more(site, 100)
    until(lambda: len(logged(site.root)) >= len(shop.acknowledged), "the rest is moved into the log")
    for member in members:
        finish(site, member, len(shop.acknowledged))
    assert_each_once(site, shop.acknowledged)


def test_a_member_that_is_stopped_while_the_store_is_emptied_holds_nobody_up_and_damages_nothing(
    site: Site,
) -> None:
    members = [site.consume(group="ours") for _ in range(3)]
    _, address = site.serve()
    with closing(Shop(address)) as shop, redis.Redis.from_url(site.store) as store:
        until_more(site, 100)
        for stopped in members[:2]:
            assert stopped.pid is not None
            os.kill(stopped.pid, signal.SIGSTOP)
            store.flushall()
            until(lambda: store.exists("recsys:default:loaded"), "another one fills the store")
            os.kill(stopped.pid, signal.SIGCONT)
            until_more(site, 100)
    for member in members:
        finish(site, member, len(shop.acknowledged))
    assert_each_once(site, shop.acknowledged)


def test_after_a_failover_that_lost_writes_only_what_may_be_missing_is_made_anew(tmp_path: Path) -> None:
    with failing_store() as store, brokers() as found, ExitStack() as held:
        site = Site(tmp_path, store.url, found, held)
        consumer = site.consume()
        _, address = site.serve()
        with closing(Shop(address)) as shop, redis.Redis.from_url(store.url) as client:
            until(lambda: len(client.keys("recsys:default:progress:*")) == 4, "a note for each partition")
            store.keep()
            until_more(site, 50)
            store.fail()
            until_more(site, 50)
        finish(site, consumer, len(shop.acknowledged))
        assert_each_once(site, shop.acknowledged)
        footing = Fillings(Workspace(tmp_path).state).footing()
        assert footing is not None
        assert footing.base == 1
        assert footing.number > 1


@pytest.mark.parametrize("how", ["dies", "comes back empty"])
def test_nothing_is_lost_or_doubled_by_a_cluster_of_which_a_primary_fails(tmp_path: Path, how: str) -> None:
    with store_cluster() as cluster, brokers() as found, ExitStack() as held:
        site = Site(tmp_path, cluster.url, found, held)
        members = [site.consume(group="ours") for _ in range(2)]
        _, address = site.serve()
        with closing(Shop(address)) as shop:
            until_more(site, 100)
            primary = cluster.primary_of(StateKeys("default").state("u1"))
            if how == "dies":
                primary.kill()
            else:
                primary.ask("FLUSHALL")
            until_more(site, 100)
            until(cluster.is_whole, "every slot has a primary")
            until_more(site, 100)
        for member in members:
            finish(site, member, len(shop.acknowledged))
        assert_each_once(site, shop.acknowledged)


def until_more(site: Site, num_events: int) -> None:
    num_before = len(logged(site.root))
    until(lambda: len(logged(site.root)) > num_before + num_events, "members move something")


def finish(site: Site, consumer: BaseProcess, num_events: int) -> None:
    """Let a consumer carry everything into the log, and stop it."""
    until(lambda: len(logged(site.root)) >= num_events, "the rest is moved into the log")
    assert consumer.pid is not None
    os.kill(consumer.pid, signal.SIGTERM)
    consumer.join()
    assert consumer.exitcode == 0
