"""The event log in shards of users: the same events, however it is cut and read."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.log_commit import joined, write_events
from recsys.schema import (
    DAY_MS,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    EVENT_TYPE,
    ITEM_ID,
    MERGE_SCHEMA,
    RECEIVED_TIME,
    TIMESTAMP,
    USER_ID,
)
from recsys.tombstones import Tombstones
from recsys.user_shard import UserShard, every_shard, shard_number

NOON = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
USERS = [f"user{i}" for i in range(12)]


def events(days: int = 3, prefix: str = "e") -> pl.DataFrame:
    """One purchase of each user a day, in another order than the log's."""
    rows = [
        (f"{prefix}{day}-{user}", user, NOON + day * DAY_MS) for day in range(days) for user in USERS[::-1]
    ]
    given = pl.DataFrame(rows, [EVENT_ID, USER_ID, EVENT_TIME], orient="row").with_columns(
        pl.col(EVENT_TIME).cast(TIMESTAMP),
        pl.col(EVENT_TIME).cast(TIMESTAMP).alias(RECEIVED_TIME),
        pl.lit("purchase").alias(EVENT_TYPE),
        pl.lit("i").alias(ITEM_ID),
    )
    return pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), given], how="diagonal")


def read(log: EventLog) -> pl.DataFrame:
    return log.scan().sort(EVENT_ID).collect()


def files(log: Path) -> dict[str, list[tuple[object, ...]]]:
    """Rows of each file, in order."""
    paths = log.glob("day=*/*")
    return {str(p.relative_to(log)): pl.read_parquet(p, hive_partitioning=False).rows() for p in paths}


@pytest.mark.parametrize("written", [1, 3, 4])
@pytest.mark.parametrize("asked", [1, 2, 4])
def test_shards_of_any_number_are_read_of_a_log_of_any_number(
    tmp_path: Path, written: int, asked: int
) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(prefix="before"), "before")
    log.reshard(written)
    log.append(events(), "after")
    parts = [log.scan(shard=shard).collect() for shard in every_shard(asked)]
    assert_frame_equal(pl.concat(parts).sort(EVENT_ID), read(log))
    assert read(log).height == 2 * 3 * len(USERS)
    for number, part in enumerate(parts):
        assert {shard_number(user, asked) for user in part[USER_ID]} <= {number}


def test_a_file_holds_the_users_that_its_name_says(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.reshard(4)
    log.append(events(), "a")
    for path in (tmp_path / "events").glob("day=*/*"):
        shard = UserShard.of_file(path.name)
        users = pl.read_parquet(path, columns=[USER_ID])[USER_ID]
        assert {shard_number(user, 4) for user in users} == {shard.number}


def test_a_shard_is_read_from_its_own_files_alone(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.reshard(4)
    log.append(events(), "a")
    for path in (tmp_path / "events").glob("day=*/*~[123]-of-4.parquet"):
        path.write_bytes(b"nothing")  # who read it would fail
    assert log.scan(shard=every_shard(4)[0]).collect()[USER_ID].n_unique() > 0


def test_a_log_that_is_cut_and_joined_again_has_the_files_that_it_had(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(), "a")
    before = files(tmp_path / "events")
    assert log.reshard(4) == 1
    assert log.num_shards == 4
    assert len(files(tmp_path / "events")) > len(before)
    assert log.reshard(4) == 0
    assert log.reshard(1) == 1
    assert files(tmp_path / "events") == before
    assert log.damaged() == []


def test_the_events_of_a_visitor_come_with_the_user_too(tmp_path: Path) -> None:
    log, user = EventLog(tmp_path / "events"), USERS[0]
    visitor = next(one for one in USERS if shard_number(one, 4) != shard_number(user, 4))
    merge = pl.DataFrame([(visitor, user, NOON + DAY_MS)], list(MERGE_SCHEMA), orient="row")
    log.reshard(4)
    log.append(events(), "a", merges=merge.cast(MERGE_SCHEMA))
    for one in (user, visitor):
        found = log.scan(shard=every_shard(4)[shard_number(one, 4)]).filter(pl.col(USER_ID) == visitor)
        assert found.select(pl.len()).collect().item() == 3


@pytest.mark.parametrize(
    "point", ["shard-written:1", "shard-written:4", "shard-committed:1", "atomic-renamed:1"]
)
def test_whoever_is_killed_while_cutting_the_log_loses_nothing(tmp_path: Path, point: str) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(prefix="a"), "a")
    log.append(events(prefix="b"), "b")
    before = read(log)
    code = "import sys; from pathlib import Path; from recsys.event_log import EventLog; "
    code += "EventLog(Path(sys.argv[1])).reshard(4)"
    command = [sys.executable, "-c", code, str(tmp_path / "events")]
    ended = subprocess.run(command, env=os.environ | {"RECSYS_FAULT": point}, check=False)
    assert ended.returncode == EXIT_CODE
    assert_frame_equal(read(log), before)
    parts = [log.scan(shard=shard).collect() for shard in every_shard(4)]
    assert_frame_equal(pl.concat(parts).sort(EVENT_ID), before)
    log.reshard(4)
    assert_frame_equal(read(log), before)
    assert all("~" in file for file in files(tmp_path / "events"))


def test_a_damaged_file_is_not_cut_into_sound_ones(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(events(days=1), "a")
    [path] = (tmp_path / "events").glob("day=*/*")
    pl.read_parquet(path).head(1).write_parquet(path)
    with pytest.raises(DataError, match="not as it was written"):
        log.reshard(4)


def test_what_was_written_elsewhere_is_adopted_whole_and_once(tmp_path: Path) -> None:
    log, here = EventLog(tmp_path / "events"), EventLog(tmp_path / "here")
    for one in (log, here):
        one.reshard(4)
    here.append(events(), "a")
    for _ in range(2):
        of_shard = [events().filter(shard.has(pl.col(USER_ID))) for shard in every_shard(4)]
        commit = joined([write_events(tmp_path / "scratch", part, "a", 4) for part in of_shard])
        log.adopt(tmp_path / "scratch", commit, "a")
    assert files(tmp_path / "events") == files(tmp_path / "here")
    assert_frame_equal(read(log), read(here))


def test_who_is_erased_goes_from_the_files_of_a_log_in_shards(tmp_path: Path) -> None:
    log, user = EventLog(tmp_path / "events"), USERS[3]
    log.reshard(4)
    log.append(events(), "a")
    Tombstones(tmp_path).add([user], NOON + DAY_MS)
    assert log.scan().filter(pl.col(USER_ID) == user).collect()[EVENT_ID].to_list() == [f"e2-{user}"]
    assert sorted(log.forget_erased()) == [f"e0-{user}", f"e1-{user}"]
    assert sum(map(len, files(tmp_path / "events").values())) == 3 * len(USERS) - 2
    assert log.damaged() == []


def test_who_was_erased_does_not_come_back_when_the_log_is_cut(tmp_path: Path) -> None:
    log, user = EventLog(tmp_path / "events"), USERS[3]
    log.append(events(), "a")
    Tombstones(tmp_path).add([user], NOON + DAY_MS)
    log.reshard(4)
    parts = [log.scan(shard=shard).collect() for shard in every_shard(4)]
    assert pl.concat(parts).filter(pl.col(USER_ID) == user)[EVENT_ID].to_list() == [f"e2-{user}"]
    assert sorted(log.forget_erased()) == [f"e0-{user}", f"e1-{user}"]


def test_days_are_pruned_and_damage_is_set_aside_by_the_file_of_a_shard(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.reshard(4)
    log.append(events(), "a")
    assert log.prune(NOON + DAY_MS) == len(USERS)
    assert read(log).height == 2 * len(USERS)
    damaged = min((tmp_path / "events").glob("day=*/*"))
    lost = pl.read_parquet(damaged, columns=[EVENT_ID]).height
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert log.set_aside_damaged() == [damaged.relative_to(tmp_path / "events").as_posix()]
    assert read(log).height == 2 * len(USERS) - lost
    assert log.damaged() == []
