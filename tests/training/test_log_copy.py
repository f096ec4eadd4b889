import gc
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.schema import DAY_MS, EVENT_ID, MERGED_INTO, USER_ID
from recsys.tombstones import Tombstones
from recsys.user_shard import every_shard
from tests.recsys.small_catalogue import NOW
from tests.shopping_log import shopping_log
from training import log_copy
from training.log_copy import LogCopy


def everybody(log: EventLog, until_ms: int = NOW) -> pl.DataFrame:
    copy = LogCopy(log, until_ms)
    return copy.events.collect()


def test_a_log_in_shards_is_copied_in_the_order_of_a_whole_one(tmp_path: Path) -> None:
    whole = shopping_log(tmp_path / "whole" / "events")
    cut = shopping_log(tmp_path / "cut" / "events", num_shards=3)
    assert_frame_equal(everybody(cut), everybody(whole))
    assert_frame_equal(everybody(cut, NOW - 5 * DAY_MS), everybody(whole, NOW - 5 * DAY_MS))
    for path in (tmp_path / "whole", tmp_path / "cut"):
        Tombstones(path).add(["user3"], NOW)
    assert_frame_equal(everybody(cut), everybody(whole))
    assert not everybody(cut).is_empty()


def test_each_shard_holds_what_the_log_gives_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_copy, "_ROWS_OF_A_FILE", 100)
    log = shopping_log(tmp_path / "events", num_shards=3)
    copy = LogCopy(log, NOW)
    for shard, copied in zip(every_shard(3), copy.shards, strict=True):
        of_them = shard.has(pl.col(USER_ID)) | shard.has(pl.col(MERGED_INTO).fill_null(pl.col(USER_ID)))
        found = log.scan(NOW, shard).filter(of_them)  # a visitor's later events are nobody else's
        assert_frame_equal(copied.sort(EVENT_ID).collect(), found.sort(EVENT_ID).collect())


def test_a_copy_outlives_the_log_and_leaves_no_files(tmp_path: Path) -> None:
    log = shopping_log(tmp_path / "events", num_shards=3)
    copy = LogCopy(log, NOW)
    before = copy.events.collect()
    reshard(log.path, 2)
    assert_frame_equal(copy.events.collect(), before)
    assert list(tmp_path.glob("events/.copy.*"))
    del copy
    gc.collect()
    assert not list(tmp_path.glob("events/.copy.*"))


def test_an_empty_log_in_shards_has_no_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    reshard(log.path, 3)
    copy = LogCopy(log, NOW)
    assert copy.events.collect().is_empty()
    assert [shard.collect().height for shard in copy.shards] == [0, 0, 0]
