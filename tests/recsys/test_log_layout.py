from pathlib import Path

from recsys.event_log import EventLog
from recsys.log_layout import log_for_appends
from recsys.workspace import Workspace
from tests.recsys.log_events import daily_purchases, files


def test_the_first_append_follows_the_configuration_and_later_ones_the_log(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.config.write_text("[log]\nnum_shards = 4\n", encoding="utf-8")
    log_for_appends(workspace).append(daily_purchases(), "a")
    workspace.config.write_text("[log]\nnum_shards = 2\n", encoding="utf-8")
    log_for_appends(workspace).append(daily_purchases(prefix="b"), "b")
    assert all("-of-4" in file for file in files(workspace.events))


def test_without_a_configuration_the_log_lies_as_it_always_did(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log_for_appends(workspace).append(daily_purchases(days=1), "a")
    EventLog(tmp_path / "plain").append(daily_purchases(days=1), "a")
    [file] = files(workspace.events)
    assert file == "day=2024-05-01/a.parquet"
    assert (workspace.events / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
    assert sorted(path.name for path in workspace.events.iterdir()) == [".lock", "_commits", "day=2024-05-01"]
