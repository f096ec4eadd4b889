"""The event log in shards of users: the same events, however it is cut and read."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.damaged_files import DamagedFiles
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.log_erasure import forget_erased
from recsys.log_pruning import prune_log
from recsys.log_shards import reshard
from recsys.schema import DAY_MS, EVENT_ID, MERGE_SCHEMA, USER_ID
from recsys.tombstones import Tombstones
from recsys.user_shard import UserShard, every_shard, shard_number
from tests.recsys.log_events import NOON, USERS, daily_purchases, files, read


@pytest.mark.parametrize("written", [1, 3, 4])
@pytest.mark.parametrize("asked", [1, 2, 4])
def test_shards_of_any_number_are_read_of_a_log_of_any_number(
    tmp_path: Path, written: int, asked: int
) -> None:
    log = EventLog(tmp_path / "events")
    log.append(daily_purchases(prefix="before"), "before")
    reshard(log.path, written)
    log.append(daily_purchases(), "after")
    parts = [log.scan(shard=shard).collect() for shard in every_shard(asked)]
    assert_frame_equal(pl.concat(parts).sort(EVENT_ID), read(log))
    assert read(log).height == 2 * 3 * len(USERS)
    for number, part in enumerate(parts):
        assert {shard_number(user, asked) for user in part[USER_ID]} <= {number}


def test_a_file_holds_the_users_that_its_name_says(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    reshard(log.path, 4)
    log.append(daily_purchases(), "a")
    for path in (tmp_path / "events").glob("day=*/*"):
        shard = UserShard.of_file(path.name)
        users = pl.read_parquet(path, columns=[USER_ID])[USER_ID]
        assert {shard_number(user, 4) for user in users} == {shard.number}


def test_a_shard_is_read_from_its_own_files_alone(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    reshard(log.path, 4)
    log.append(daily_purchases(), "a")
    for path in (tmp_path / "events").glob("day=*/*~[123]-of-4.parquet"):
        path.write_bytes(b"nothing")  # who read it would fail
    assert log.scan(shard=every_shard(4)[0]).collect()[USER_ID].n_unique() > 0


def test_a_log_that_is_cut_and_joined_again_has_the_files_that_it_had(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(daily_purchases(), "a")
    before = files(tmp_path / "events")
    assert reshard(log.path, 4) == 1
    assert log.num_shards == 4
    assert len(files(tmp_path / "events")) > len(before)
    assert reshard(log.path, 4) == 0
    assert reshard(log.path, 1) == 1
    assert files(tmp_path / "events") == before
    assert DamagedFiles(log.path).find() == []


def test_the_events_of_a_visitor_come_with_the_user_too(tmp_path: Path) -> None:
    log, user = EventLog(tmp_path / "events"), USERS[0]
    visitor = next(one for one in USERS if shard_number(one, 4) != shard_number(user, 4))
    merge = pl.DataFrame([(visitor, user, NOON + DAY_MS)], list(MERGE_SCHEMA), orient="row")
    reshard(log.path, 4)
    log.append(daily_purchases(), "a", merges=merge.cast(MERGE_SCHEMA))
    for one in (user, visitor):
        found = log.scan(shard=every_shard(4)[shard_number(one, 4)]).filter(pl.col(USER_ID) == visitor)
        assert found.select(pl.len()).collect().item() == 3


@pytest.mark.parametrize(
    "point", ["shard-written:1", "shard-written:4", "shard-committed:1", "atomic-renamed:1"]
)
def test_whoever_is_killed_while_cutting_the_log_loses_nothing(tmp_path: Path, point: str) -> None:
    log = EventLog(tmp_path / "events")
    log.append(daily_purchases(prefix="a"), "a")
    log.append(daily_purchases(prefix="b"), "b")
    before = read(log)
    code = "import sys; from pathlib import Path; from recsys.log_shards import reshard; "
    code += "reshard(Path(sys.argv[1]), 4)"
    command = [sys.executable, "-c", code, str(tmp_path / "events")]
    ended = subprocess.run(command, env=os.environ | {"RECSYS_FAULT": point}, check=False)
    assert ended.returncode == EXIT_CODE
    assert_frame_equal(read(log), before)
    parts = [log.scan(shard=shard).collect() for shard in every_shard(4)]
    assert_frame_equal(pl.concat(parts).sort(EVENT_ID), before)
    reshard(log.path, 4)
    assert_frame_equal(read(log), before)
    assert all("~" in file for file in files(tmp_path / "events"))


def test_a_damaged_file_is_not_cut_into_sound_ones(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(daily_purchases(days=1), "a")
    [path] = (tmp_path / "events").glob("day=*/*")
    pl.read_parquet(path).head(1).write_parquet(path)
    with pytest.raises(DataError, match="not as it was written"):
        reshard(log.path, 4)


def test_who_was_erased_does_not_come_back_when_the_log_is_cut(tmp_path: Path) -> None:
    log, user = EventLog(tmp_path / "events"), USERS[3]
    log.append(daily_purchases(), "a")
    Tombstones(tmp_path).add([user], NOON + DAY_MS)
    reshard(log.path, 4)
    parts = [log.scan(shard=shard).collect() for shard in every_shard(4)]
    assert pl.concat(parts).filter(pl.col(USER_ID) == user)[EVENT_ID].to_list() == [f"e2-{user}"]
    assert sorted(forget_erased(log.path)) == [f"e0-{user}", f"e1-{user}"]


def test_days_are_pruned_and_damage_is_set_aside_by_the_file_of_a_shard(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    reshard(log.path, 4)
    log.append(daily_purchases(), "a")
    assert prune_log(log.path, NOON + DAY_MS) == len(USERS)
    assert read(log).height == 2 * len(USERS)
    damaged = min((tmp_path / "events").glob("day=*/*"))
    lost = pl.read_parquet(damaged, columns=[EVENT_ID]).height
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert DamagedFiles(log.path).set_aside() == [damaged.relative_to(tmp_path / "events").as_posix()]
    assert read(log).height == 2 * len(USERS) - lost
    assert DamagedFiles(log.path).find() == []
