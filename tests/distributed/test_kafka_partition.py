"""What becomes of the records of a partition, whoever reads them and how often."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from recsys.config import StateConfig
from recsys.event_log import EventLog
from recsys.schema import EVENT_ID, EVENT_TYPE_CODES, USER_ID
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.cluster_client import StoreClient
from serving.discretion import Discretion
from serving.embedded_store import embedded_store
from serving.event import VISITOR_PREFIX, Event, Merge
from serving.kafka_offsets import append_name
from serving.kafka_partition import KafkaPartition, Record
from serving.kafka_record import encode, key_of
from serving.kafka_states import KafkaStates
from serving.state_store import StateStore, connect
from tests.serving.small_shop import NOON, make_event

VISITOR = VISITOR_PREFIX + "v1"
TOPIC = "events"


@dataclass
class Topic:
    """Partitions, and what lies in each."""

    root: Path
    client: StoreClient
    lying: dict[int, list[Event | Merge]] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def store(self, source: str = "none") -> StateStore:
        return StateStore(self.client, "shop", StateConfig(), Discretion(self.root), source=source)

    def states(self) -> KafkaStates:
        return KafkaStates(self.workspace, self.store(), TOPIC, self.logged_states)

    def logged_states(self) -> list[tuple[str, UserState]]:
        """The states of the log; every event of these tests is a purchase of bread."""
        found = {user_id: UserState(StateConfig().half_lives_days) for _, user_id in self.logged()}
        for _, user_id in self.logged():
            code = EVENT_TYPE_CODES["purchase"]
            found[user_id].apply("bread", code, NOON, is_purchase=True, max_rows=100)
        return list(found.items())

    def reader(self, number: int) -> KafkaPartition:
        """Somebody who has taken a partition over."""
        store, past = self.store(f"{TOPIC}/{number}"), self.states().past()
        return KafkaPartition(self.workspace, TOPIC, number, tenant="shop", store=store, past=past)

    async def read(self, reader: KafkaPartition) -> None:
        """Let somebody read everything that lies there, from where it has to begin."""
        records = [
            Record(offset, key_of("shop", record), encode(record))
            for offset, record in enumerate(self.lying[reader.number])
        ]
        reader.take(records[reader.start or 0 :])
        await reader.updater.catch_up()

    async def counts(self, user_id: str) -> int:
        """How many events a user's state has."""
        state = await self.store().get(user_id)
        return 0 if state is None else int(state.counts.sum())

    def logged(self) -> list[tuple[str, str]]:
        return sorted(EventLog(self.workspace.events).scan().select(EVENT_ID, USER_ID).collect().rows())


def play(root: Path, scenario: Callable[[Topic], Awaitable[None]]) -> None:
    async def run(url: str) -> None:
        client = connect(url, 5000)
        try:
            topic = Topic(root, client)
            await topic.states().ensure()
            await scenario(topic)
        finally:
            await client.aclose()

    with embedded_store() as url:
        asyncio.run(run(url))


def ids(*event_ids: str) -> list[Event | Merge]:
    return [make_event(event_id) for event_id in event_ids]


def test_a_second_reader_of_the_same_records_doubles_nothing(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1", "e2", "e1")
        with closing(topic.reader(0)) as first, closing(topic.reader(0)) as second:
            for reader in (first, second):
                await topic.read(reader)
            assert await first.move() == 2
            assert await second.move() is None
            topic.lying[0] = topic.lying[0][:2]
        topic.lying[0] = ids("e1", "e2", "e1", "e3")
        with closing(topic.reader(0)) as third:
            assert third.start == 2
            await topic.read(third)
            await third.move()
        assert topic.logged() == [("e1", "u1"), ("e2", "u1"), ("e3", "u1")]
        assert await topic.counts("u1") == 3

    play(tmp_path, scenario)


def test_a_reader_that_was_given_up_moves_only_what_nobody_moved(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1", "e2", "e3")
        with closing(topic.reader(0)) as old, closing(topic.reader(0)) as new:
            await topic.read(old)
            new.take([Record(n, key_of("shop", e), encode(e)) for n, e in enumerate(ids("e1", "e2"))])
            await new.updater.catch_up()
            assert await new.move() == 2
            assert await old.move() == 3
        assert set(EventLog(topic.workspace.events).names()) == {
            append_name(TOPIC, 0, 0, 1),
            append_name(TOPIC, 0, 2, 2),
        }
        assert len(topic.logged()) == 3
        assert await topic.counts("u1") == 3

    play(tmp_path, scenario)


def test_a_visitor_of_one_partition_becomes_the_user_of_another(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        before = make_event("v-1", user_id=VISITOR, time_ms=NOON)
        after = make_event("v-2", user_id=VISITOR, time_ms=NOON + 9000)
        topic.lying = {
            0: [before, Merge(VISITOR, "u1", NOON + 5000), after],
            1: [make_event(f"u-{number}") for number in range(4)],
        }
        for _ in range(2):  # also when everything is read again
            with closing(topic.reader(0)) as zero, closing(topic.reader(1)) as one:
                await topic.read(one)
                await topic.read(zero)
                assert await topic.counts("u1") == 6
        with closing(topic.reader(0)) as zero, closing(topic.reader(1)) as one:
            for reader in (zero, one):
                await topic.read(reader)
                await reader.move()
        theirs = [(f"u-{number}", "u1") for number in range(4)]
        assert topic.logged() == [*theirs, ("v-1", VISITOR), ("v-2", "u1")]
        assert EventLog(topic.workspace.events).merges()[USER_ID].to_list() == ["u1"]
        topic.lying[0].append(make_event("v-3", user_id=VISITOR, time_ms=NOON + 9500))
        with closing(topic.reader(0)) as zero:  # knows the visitor from the log
            await topic.read(zero)
        assert await topic.counts("u1") == 7

    play(tmp_path, scenario)


def test_a_store_that_lost_everything_is_filled_and_has_everything_again(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1", "e2", "e3")
        with closing(topic.reader(0)) as reader:
            await topic.read(reader)
            assert await reader.look()
            await topic.client.flushall()
            assert not await reader.look()
            assert await reader.move() is None
            await topic.states().ensure()
            await reader.updater.catch_up()
            assert await topic.counts("u1") == 3
            assert await reader.move() == 3

    play(tmp_path, scenario)


def test_a_store_that_lost_what_is_in_the_log_by_now_is_filled_from_it(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1", "e2", "e3")
        with closing(topic.reader(0)) as reader:
            await topic.read(reader)
            assert await reader.move() == 3
            topic.lying[0] += ids("e4")
            reader.take([Record(3, key_of("shop", topic.lying[0][3]), encode(topic.lying[0][3]))])
            await reader.updater.catch_up()
            # A replica takes over that had the first two events only.
            await topic.client.set("recsys:shop:progress:events/0", 2)
            await topic.store().rewrite([("u1", None)])
            assert not await reader.look()
            await topic.states().ensure()
            await reader.updater.catch_up()
            assert await topic.counts("u1") == 4
            assert await reader.move() == 4

    play(tmp_path, scenario)


def test_what_an_erased_person_did_before_is_left_out(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = [*ids("e1"), make_event("e2", time_ms=NOON + 2000), make_event("e3", user_id="u2")]
        with closing(topic.reader(0)) as reader:
            await topic.read(reader)
            Tombstones(topic.root).add(["u1"], NOON + 1000)
            await topic.store().erase(["u1"], NOON + 1000)
            await reader.move()
        assert topic.logged() == [("e2", "u1"), ("e3", "u2")]
        with closing(topic.reader(0)) as reader:
            await topic.read(reader)
        assert topic.logged() == [("e2", "u1"), ("e3", "u2")]

    play(tmp_path, scenario)


def test_records_of_others_and_records_that_are_none_stop_nobody(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        [event] = ids("e1")
        theirs = Record(0, key_of("other", event), encode(event))
        broken = Record(1, key_of("shop", event), b"{}")
        with closing(topic.reader(0)) as reader:
            reader.take([theirs, broken, Record(2, key_of("shop", event), encode(event))])
            await reader.updater.catch_up()
            assert reader.num_foreign == 1
            assert await reader.move() == 3
        assert topic.logged() == [("e1", "u1")]

    play(tmp_path, scenario)
