from pathlib import Path

import polars as pl
import pytest

from recsys.damaged_files import DamagedFiles
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.log_erasure import forget_erased
from recsys.log_shards import reshard
from recsys.schema import DAY_MS, EVENT_ID, USER_ID
from recsys.tombstones import Tombstones
from tests.recsys.log_events import NOON, USERS, daily_purchases, files, ids, purchases


def test_what_an_erased_user_did_is_not_read_and_does_not_come_back(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("before", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["u"], NOON)
    assert ids(log.scan()) == set()
    log.append(purchases(("replayed", NOON, NOON), ("after", NOON + 1, NOON + 1)), "b")
    assert ids(log.scan()) == {"after"}
    assert (forget_erased(log.path), forget_erased(log.path)) == (["before"], [])
    assert ids(log.scan()) == {"after"}


def test_what_is_rewritten_without_somebody_is_not_damaged(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["u"], NOON)
    assert forget_erased(log.path) == ["one"]
    assert DamagedFiles(log.path).find() == []


def test_who_is_erased_goes_from_the_files_of_a_log_in_shards(tmp_path: Path) -> None:
    log, user = EventLog(tmp_path / "events"), USERS[3]
    reshard(log.path, 4)
    log.append(daily_purchases(), "a")
    Tombstones(tmp_path).add([user], NOON + DAY_MS)
    assert log.scan().filter(pl.col(USER_ID) == user).collect()[EVENT_ID].to_list() == [f"e2-{user}"]
    assert sorted(forget_erased(log.path)) == [f"e0-{user}", f"e1-{user}"]
    assert sum(map(len, files(tmp_path / "events").values())) == 3 * len(USERS) - 2
    assert DamagedFiles(log.path).find() == []


def test_a_lost_file_is_named_before_anybody_is_taken_out(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(purchases(("one", NOON, NOON)), "a")
    Tombstones(tmp_path).add(["u"], NOON)
    next(log.path.glob("day=*/*")).unlink()
    with pytest.raises(DataError, match=r"the event log lacks .*a\.parquet"):
        forget_erased(log.path)
