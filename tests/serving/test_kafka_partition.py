"""What becomes of the records of a partition, whoever reads them and how often."""

from contextlib import closing
from pathlib import Path

from recsys.event_log import EventLog
from recsys.schema import USER_ID
from recsys.tombstones import Tombstones
from serving.event import VISITOR_PREFIX, Event, Merge
from serving.kafka_offsets import append_name
from serving.kafka_partition import Record
from serving.kafka_record import encode, key_of
from tests.serving.kafka_topic import TOPIC, Topic, play
from tests.serving.small_shop import NOON, make_event

VISITOR = VISITOR_PREFIX + "v1"


def ids(*event_ids: str) -> list[Event | Merge]:
    return [make_event(event_id) for event_id in event_ids]


def test_a_second_reader_of_the_same_records_doubles_nothing(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1", "e2", "e1")
        with closing(topic.reader(0)) as first, closing(topic.reader(0)) as second:
            for reader in (first, second):
                await topic.read(reader)
            assert await topic.move(first) == 2
            assert await topic.move(second) is None
            topic.lying[0] = topic.lying[0][:2]
        topic.lying[0] = ids("e1", "e2", "e1", "e3")
        with closing(topic.reader(0)) as third:
            assert third.start == 2
            await topic.read(third)
            await topic.move(third)
        assert topic.logged() == [("e1", "u1"), ("e2", "u1"), ("e3", "u1")]
        assert await topic.counts("u1") == 3

    play(tmp_path, scenario)


def test_a_reader_that_was_given_up_moves_only_what_nobody_moved(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1", "e2", "e3")
        with closing(topic.reader(0)) as old, closing(topic.reader(0)) as new:
            await topic.read(old)
            topic.take(new, 0, 2)
            await topic.carry_on(new)
            assert await topic.move(new) == 2
            assert await topic.move(old) == 3
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
                await topic.move(reader)
        theirs = [(f"u-{number}", "u1") for number in range(4)]
        assert topic.logged() == [*theirs, ("v-1", VISITOR), ("v-2", "u1")]
        assert EventLog(topic.workspace.events).merges()[USER_ID].to_list() == ["u1"]
        topic.lying[0].append(make_event("v-3", user_id=VISITOR, time_ms=NOON + 9500))
        with closing(topic.reader(0)) as zero:  # knows the visitor from the log
            await topic.read(zero)
        assert await topic.counts("u1") == 7

    play(tmp_path, scenario)


def test_what_an_erased_person_did_before_is_left_out(tmp_path: Path) -> None:
    async def scenario(topic: Topic) -> None:
        topic.lying[0] = [*ids("e1"), make_event("e2", time_ms=NOON + 2000), make_event("e3", user_id="u2")]
        with closing(topic.reader(0)) as reader:
            await topic.read(reader)
            Tombstones(topic.root).add(["u1"], NOON + 1000)
            await topic.store().erase(["u1"], NOON + 1000)
            await topic.move(reader)
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
            await topic.carry_on(reader)
            assert reader.num_foreign == 1
            assert await topic.move(reader) == 3
        assert topic.logged() == [("e1", "u1")]

    play(tmp_path, scenario)


def test_an_empty_log_is_cut_as_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text("[log]\nnum_shards = 4\n")

    async def scenario(topic: Topic) -> None:
        topic.lying[0] = ids("e1")
        with closing(topic.reader(0)) as reader:
            await topic.read(reader)
            await topic.move(reader)
        assert EventLog(topic.workspace.events).num_shards == 4
        [file] = topic.workspace.events.glob("day=*/*.parquet")
        assert file.stem.endswith("-of-4")

    play(tmp_path, scenario)
