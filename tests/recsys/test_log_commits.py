from pathlib import Path

import pytest

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.log_commits import Commits, check_name
from recsys.schema import DAY_MS
from tests.recsys.log_events import NOON, purchases


def test_commits_come_by_name_with_what_they_list(tmp_path: Path) -> None:
    log, commits = EventLog(tmp_path), Commits(tmp_path)
    assert (commits.names(), list(commits), "a" in commits) == ([], [], False)
    log.append(purchases(("one", NOON, NOON)), "b")
    log.append(purchases(("two", NOON, NOON)), "a")
    assert commits.names() == ["a", "b"]
    assert [(name, commit.files) for name, commit in commits] == [
        ("a", ["day=2024-05-01/a.parquet"]),
        ("b", ["day=2024-05-01/b.parquet"]),
    ]
    assert "a" in commits


def test_a_damaged_commit_is_named(tmp_path: Path) -> None:
    EventLog(tmp_path).append(purchases(), "a")
    (tmp_path / "_commits" / "a.json").write_text('{"first_ms"')
    with pytest.raises(DataError, match=r"commit .*a\.json is damaged"):
        Commits(tmp_path).read("a")
    with pytest.raises(DataError, match=r"commit .*a\.json is damaged"):
        list(Commits(tmp_path))


def test_files_that_are_gone_are_listed_and_the_first_of_those_required_is_named(tmp_path: Path) -> None:
    EventLog(tmp_path).append(purchases(("one", NOON, NOON), ("two", NOON + DAY_MS, NOON)), "a")
    commits, gone = Commits(tmp_path), "day=2024-05-02/a.parquet"
    assert commits.lost() == []
    (tmp_path / gone).unlink()
    assert commits.lost() == [tmp_path / gone]
    commits.require(["day=2024-05-01/a.parquet"])
    with pytest.raises(DataError, match=f"the event log lacks .*{gone}; restore it"):
        commits.require(["day=2024-05-01/a.parquet", gone])


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a" * 201])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="append name"):
        check_name(name)
