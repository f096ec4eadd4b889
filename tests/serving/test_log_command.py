from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.errors import ConfigError
from recsys.event_log import EventLog
from recsys.log_shards import reshard
from recsys.workspace import Workspace
from serving.log_command import log, reshard_workspace
from tests.recsys.log_events import daily_purchases, files


def test_the_configuration_says_how_the_log_is_cut(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.config.write_text("[log]\nnum_shards = 4\n", encoding="utf-8")
    assert reshard_workspace(workspace) == (4, 0)
    EventLog(workspace.events).append(daily_purchases(), "a")
    assert all("~" in file for file in files(workspace.events))
    workspace.config.write_text("[log]\nnum_shards = 1\n", encoding="utf-8")
    assert reshard_workspace(workspace) == (1, 1)
    assert not any("~" in file for file in files(workspace.events))


def test_a_log_in_shards_stays_so_where_nothing_says_how_many(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    reshard(workspace.events, 4)
    workspace.config.write_text("[privacy]\nretention_days = 9\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"set log\.num_shards there, or give --shards N"):
        reshard_workspace(workspace)
    assert EventLog(workspace.events).num_shards == 4


def test_a_number_on_the_command_line_goes_before_the_configuration(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(daily_purchases(), "a")
    told = CliRunner().invoke(log, ["reshard", "--shards", "2", "--workspace", str(tmp_path), "--json"])
    assert (told.exit_code, told.stdout.strip()) == (0, '{"num_shards": 2, "appends": 1}')
    assert EventLog(workspace.events).num_shards == 2


def test_pruning_does_not_empty_a_log_unless_that_is_said(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    EventLog(workspace.events).append(daily_purchases(), "a")
    words = ["prune", "--workspace", str(tmp_path), "--days", "1"]
    refused = CliRunner().invoke(log, words)
    assert isinstance(refused.exception, ConfigError)
    assert "none would be left" in str(refused.exception)
    assert len(EventLog(workspace.events).event_ids()) > 0
    assert CliRunner().invoke(log, [*words, "--everything"]).exit_code == 0
    assert len(EventLog(workspace.events).event_ids()) == 0


def test_a_workspace_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    for words in (["prune"], ["reshard", "--shards", "2"], ["forget-damaged"]):
        missing = CliRunner().invoke(log, [*words, "--workspace", str(tmp_path / "none")])
        assert "there is no workspace" in str(missing.exception)
    assert not (tmp_path / "none").exists()
