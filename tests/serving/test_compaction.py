"""Tests of the way from the buffer into the log."""

from contextlib import closing
from pathlib import Path

import pytest

from recsys.event_log import EventLog
from recsys.schema import EVENT_ID
from recsys.workspace import Workspace
from serving.compaction import compact, settle
from serving.event import event_frame
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from tests.serving.small_shop import make_event


def test_events_move_into_the_log_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("a"), make_event("b"), make_event("c")]).result()
        assert compact(buffer, log, through=2) == 2
        assert sorted(log.event_ids()) == ["a", "b"]
        assert [e.event.event_id for e in buffer.since(0, 10)] == ["c"]
        assert compact(buffer, log, through=3) == 1
        assert compact(buffer, log, through=3) == 0
        assert sorted(log.event_ids()) == ["a", "b", "c"]


def test_an_interruption_before_the_release_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events")
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("a")]).result()
        with monkeypatch.context() as patch:
            patch.delattr(SqliteEventBuffer, "release")
            with pytest.raises(AttributeError):
                compact(buffer, log, through=1)
        buffer.append([make_event("b")]).result()
        assert compact(buffer, log, through=2) == 2
        assert sorted(log.event_ids()) == ["a", "b"]


def test_events_that_were_ingested_too_are_left_out(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.append(event_frame([make_event("a")]), "ingested")
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("a"), make_event("b")]).result()
        compact(buffer, log, through=2)
    assert sorted(log.event_ids()) == ["a", "b"]
    assert log.scan().select(EVENT_ID).collect().height == 2


def test_an_empty_log_takes_the_buffers_events_in_shards_of_users(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.config.write_text("[log]\nnum_shards = 4\n", encoding="utf-8")
    workspace.state.mkdir()
    with closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        buffer.append([make_event("a"), make_event("b")]).result()
    assert settle(workspace) == 2
    assert sorted(EventLog(workspace.events).event_ids()) == ["a", "b"]
    assert all("-of-4" in file.name for file in workspace.events.glob("day=*/*"))
