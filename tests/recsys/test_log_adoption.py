from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.log_adoption import adopt
from recsys.log_commit import joined, write_events
from recsys.log_shards import reshard
from recsys.schema import USER_ID
from recsys.user_shard import every_shard
from tests.recsys.log_events import daily_purchases, files, read


def test_what_was_written_elsewhere_is_adopted_whole_and_once(tmp_path: Path) -> None:
    log, here = EventLog(tmp_path / "events"), EventLog(tmp_path / "here")
    for one in (log, here):
        reshard(one.path, 4)
    here.append(daily_purchases(), "a")
    for _ in range(2):
        of_shard = [daily_purchases().filter(shard.has(pl.col(USER_ID))) for shard in every_shard(4)]
        commit = joined([write_events(tmp_path / "scratch", part, "a", 4) for part in of_shard])
        adopt(log.path, tmp_path / "scratch", commit, "a")
    assert files(tmp_path / "events") == files(tmp_path / "here")
    assert_frame_equal(read(log), read(here))


def test_what_was_not_brought_is_named_and_nothing_is_added(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    commit = write_events(tmp_path / "scratch", daily_purchases(), "a", 1)
    next((tmp_path / "scratch").glob("day=*/*")).unlink()
    with pytest.raises(DataError, match=r"the event log lacks .*a\.parquet"):
        adopt(log.path, tmp_path / "scratch", commit, "a")
    assert log.names() == []
