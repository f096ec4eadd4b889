from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recsys.event_log import READERS_LOCK, EventLog
from recsys.file_lock import exclusive, shared
from recsys.schema import DAY_MS
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK
from serving.log_command import reshard_workspace
from serving.retention import Pruned, prune_workspace
from serving.unread_log import if_unread, once_unread
from tests.recsys.log_events import NOON, daily_purchases


def test_who_waits_for_a_training_to_end_keeps_nobody_from_writing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(daily_purchases(), "a")
    with ThreadPoolExecutor() as threads:
        with shared(workspace.events / READERS_LOCK):
            pruning = threads.submit(prune_workspace, workspace, 0, once_unread)
            resharding = threads.submit(reshard_workspace, workspace, 2)
            for _ in range(3):
                with exclusive(workspace.state / COMPACTION_LOCK):
                    assert [pruning.done(), resharding.done()] == [False, False]
        assert pruning.result(30) == Pruned(0, 0)
        assert resharding.result(30) == (2, 1)


def test_who_comes_again_later_removes_nothing_under_a_reader(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(daily_purchases(days=1), "a")
    later, num_events = NOON + 9 * DAY_MS, len(daily_purchases(days=1))
    with shared(workspace.events / READERS_LOCK):
        assert prune_workspace(workspace, later, if_unread) == Pruned()
    assert prune_workspace(workspace, later, if_unread) == Pruned(num_events, 0)
