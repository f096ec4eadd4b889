from pathlib import Path

from recsys.event_log import EventLog
from recsys.workspace import Workspace
from serving.log_command import reshard_workspace
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
