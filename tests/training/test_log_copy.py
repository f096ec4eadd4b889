import gc
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.schema import DAY_MS, EVENT_ID, MERGED_INTO, USER_ID
from recsys.tombstones import Tombstones
from recsys.user_shard import every_shard
from recsys.workspace import Workspace
from serving.erasure import open_eraser
from serving.users_command import erase_user
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


@pytest.mark.parametrize("num_shards", [1, 3])
def test_an_erasure_says_that_a_training_holds_what_it_read_and_tidies_up_after_one_that_crashed(
    tmp_path: Path, num_shards: int
) -> None:
    workspace = Workspace(tmp_path)
    log = shopping_log(workspace.events, num_shards=num_shards)
    copy = LogCopy(log, NOW)
    with ExitStack() as stack:
        eraser = open_eraser(stack, workspace)
        erasure = eraser.order("user3", NOW)
        assert eraser.erase_files(erasure).num_trainings == 1
        assert erase_user(workspace, "user4", NOW, 0.0)["num_trainings"] == 1
        assert not copy.events.filter(pl.col(USER_ID) == "user3").collect().is_empty()
        del copy
        gc.collect()
        left = workspace.events / ".copy.k1ll3d12" / "everybody"
        left.mkdir(parents=True)
        assert eraser.erase_files(erasure).num_trainings == 0
        assert not left.exists()
    left.mkdir(parents=True)
    LogCopy(log, NOW)
    assert not left.exists()


def test_an_empty_log_in_shards_has_no_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    reshard(log.path, 3)
    copy = LogCopy(log, NOW)
    assert copy.events.collect().is_empty()
    assert [shard.collect().height for shard in copy.shards] == [0, 0, 0]
