from pathlib import Path

from recsys.event_log import READERS_LOCK, EventLog
from recsys.file_lock import shared
from recsys.schema import DAY_MS
from recsys.workspace import Workspace
from serving.retention import prune
from tests.recsys.log_events import daily_purchases


def test_retention_takes_nothing_away_under_whoever_reads_the_log_on_any_machine(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.config.write_text("[privacy]\nretention_days = 1\n", encoding="utf-8")
    log = EventLog(workspace.events)
    log.append(daily_purchases(), "a")
    later, num_events = (log.end_ms() or 0) + 9 * DAY_MS, len(log.event_ids())
    with shared(workspace.events / READERS_LOCK):  # which needs no other file of the reader's machine
        assert prune(workspace, later) == 0
        assert len(log.event_ids()) == num_events > 0
    assert prune(workspace, later) == num_events
