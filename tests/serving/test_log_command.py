from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from typer.testing import CliRunner

from recsys.errors import ConfigError
from recsys.event_log import READERS_LOCK, EventLog
from recsys.file_lock import exclusive, shared
from recsys.schema import DAY_MS
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK
from serving.log_command import log, prune_workspace, reshard_workspace
from serving.retention import prune
from tests.recsys.test_log_shards import events, files


def test_the_configuration_says_how_the_log_is_cut(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.config.write_text("[log]\nnum_shards = 4\n", encoding="utf-8")
    assert reshard_workspace(workspace) == (4, 0)
    EventLog(workspace.events).append(events(), "a")
    assert all("~" in file for file in files(workspace.events))
    workspace.config.write_text("", encoding="utf-8")
    assert reshard_workspace(workspace) == (1, 1)
    assert not any("~" in file for file in files(workspace.events))


def test_a_number_on_the_command_line_goes_before_the_configuration(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(events(), "a")
    told = CliRunner().invoke(log, ["reshard", "--shards", "2", "--workspace", str(tmp_path), "--json"])
    assert (told.exit_code, told.stdout.strip()) == (0, '{"num_shards": 2, "appends": 1}')
    assert EventLog(workspace.events).num_shards == 2


def test_pruning_does_not_empty_a_log_unless_that_is_said(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(events(), "a")
    words = ["prune", "--workspace", str(tmp_path), "--days", "1"]
    refused = CliRunner().invoke(log, words)
    assert isinstance(refused.exception, ConfigError)
    assert "none would be left" in str(refused.exception)
    assert len(EventLog(workspace.events).event_ids()) > 0
    assert CliRunner().invoke(log, [*words, "--everything"]).exit_code == 0
    assert len(EventLog(workspace.events).event_ids()) == 0


def test_a_workspace_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    for words in (["prune"], ["reshard", "--shards", "2"]):
        missing = CliRunner().invoke(log, [*words, "--workspace", str(tmp_path / "none")])
        assert "there is no workspace" in str(missing.exception)
    assert not (tmp_path / "none").exists()


def test_who_waits_for_a_training_to_end_keeps_nobody_from_writing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(events(), "a")
    with ThreadPoolExecutor() as threads:
        with shared(workspace.events / READERS_LOCK):
            pruning = threads.submit(prune_workspace, workspace, 0)
            resharding = threads.submit(reshard_workspace, workspace, 2)
            for _ in range(3):
                with exclusive(workspace.state / COMPACTION_LOCK):
                    assert [pruning.done(), resharding.done()] == [False, False]
        assert pruning.result(30) == (0, 0)
        assert resharding.result(30) == (2, 1)


def test_retention_takes_nothing_away_under_whoever_reads_the_log_on_any_machine(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.config.write_text("[privacy]\nretention_days = 1\n", encoding="utf-8")
    log = EventLog(workspace.events)
    log.append(events(), "a")
    later, num_events = (log.end_ms() or 0) + 9 * DAY_MS, len(log.event_ids())
    with shared(workspace.events / READERS_LOCK):  # which needs no other file of the reader's machine
        assert prune(workspace, later) == 0
        assert len(log.event_ids()) == num_events > 0
    assert prune(workspace, later) == num_events
