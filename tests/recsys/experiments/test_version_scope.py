"""Which lists a report counts, when an experiment had several versions."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys.errors import ConfigError, DataError
from recsys.experiments.commands import experiment
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.report import report
from recsys.experiments.result import Result
from recsys.experiments.version_scope import VersionScope
from recsys.workspace import Workspace
from tests.recsys.experiments.served_log import MARCH, retime, served, write_served
from tests.recsys.experiments.small_experiment import toml

DAY = timedelta(days=1)
RENAMED = toml().replace('"treatment"', '"variant"')
INTERLEAVED = toml(top="interleave = true", treatment='model = "m2"')
SECOND = MARCH + 10 * DAY


def lists(
    arms: Sequence[str], time: datetime, version: int | None, *, first: int = 0
) -> list[dict[str, object]]:
    """One list each for 20 users."""
    return [
        served(first + number + 1, f"u{first + number}", arms[number % len(arms)], time, version)
        for number in range(20)
    ]


def ran_twice(root: Path, second: str, first: str = "") -> Workspace:
    """A workspace whose experiment was started on 1 March, and as another version on 11 March."""
    workspace = Workspace(root)
    registry = ExperimentRegistry(workspace)
    registry.start(first or toml(), "first.toml")
    registry.stop("e")
    registry.start(second, "second.toml")
    retime(registry, (MARCH, SECOND - DAY, SECOND))
    return workspace


def remarks(result: Result) -> dict[str, str]:
    return {problem.code: problem.message for problem in result.problems}


def test_a_renamed_arm_leaves_the_lists_of_the_earlier_version_out_and_says_how_many(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, RENAMED)
    write_served(workspace, lists(("control", "treatment"), MARCH + DAY, 1))
    write_served(workspace, lists(("control", "variant"), SECOND + DAY, 2, first=20))
    write_served(
        workspace, lists(("treatment",), SECOND + DAY, 1, first=40)
    )  # by a server that lagged behind
    now = report(workspace, "e")
    assert (now.version, now.units) == (2, {"control": 10, "variant": 10})
    assert "40 lists are not of version 2 and are left out: version 1 40" in remarks(now)["other_versions"]
    before = report(workspace, "e", version=1)
    assert (before.version, before.units) == (1, {"control": 10, "treatment": 10})  # up to its end
    assert "version 2 20" in remarks(before)["other_versions"]
    with pytest.raises(ConfigError, match="no version 3; it has: 1, 2"):
        report(workspace, "e", version=3)


def test_lists_of_before_versions_were_kept_are_told_by_the_time_and_never_an_error(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, RENAMED)
    write_served(workspace, lists(("control", "treatment"), MARCH + DAY, None))
    write_served(workspace, lists(("control", "treatment"), SECOND + DAY, None, first=20))
    now = report(workspace, "e")
    assert now.units == {"control": 10, "variant": 0}
    assert "not this version's 30" in remarks(now)["other_versions"]
    assert report(workspace, "e", version=1).units == {"control": 10, "treatment": 10}


def test_an_earlier_run_of_the_same_version_is_left_out(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, toml())
    write_served(workspace, lists(("control", "treatment"), MARCH + DAY, 1))
    with pytest.raises(DataError, match="an earlier run of version 1 20"):
        report(workspace, "e")
    write_served(workspace, lists(("control", "treatment"), SECOND + DAY, 1, first=20))
    assert report(workspace, "e").units == {"control": 10, "treatment": 10}


def test_on_a_replay_clock_only_the_version_counts_too(tmp_path: Path) -> None:
    workspace, long_ago = ran_twice(tmp_path, RENAMED), MARCH - 1000 * DAY
    write_served(workspace, lists(("control", "treatment"), long_ago, 1))
    write_served(workspace, lists(("control", "variant"), long_ago, 2, first=20))
    write_served(workspace, lists(("control",), long_ago, None, first=40))  # nobody can say of which
    now = report(workspace, "e")
    assert now.units == {"control": 10, "variant": 10}
    assert "replay clock" in remarks(now)["replay_clock"]
    assert "version 1 20" in remarks(now)["other_versions"]
    assert report(workspace, "e", version=1).units == {"control": 10, "treatment": 10}


def test_what_lists_say_goes_before_what_the_time_would_tell(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, RENAMED)
    write_served(workspace, lists(("control", "variant"), MARCH - 1000 * DAY, 2))  # on a replay clock
    write_served(workspace, lists(("treatment",), SECOND + DAY, 1, first=20))  # the log goes on elsewhere
    assert report(workspace, "e").units == {"control": 10, "variant": 10}


def test_an_experiment_that_was_turned_into_an_interleaving_one_has_both_reports(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, INTERLEAVED)
    write_served(workspace, lists(("control", "treatment"), MARCH + DAY, 1))
    policy = "team_draft experiment=e a=m1 b=m2 teams=ab"
    drafted = [
        row | {"policy": policy, "item_ids": ["x", "y"]}
        for row in lists(("interleaved",), SECOND + DAY, 2, first=20)
    ]
    write_served(workspace, drafted)
    assert report(workspace, "e", version=1).units == {"control": 10, "treatment": 10}
    with pytest.raises(ConfigError, match="recsys experiment preference e"):
        report(workspace, "e")
    words = ["report", "e", "--workspace", str(tmp_path)]
    said = json.loads(CliRunner().invoke(experiment, [*words, "--json"], catch_exceptions=False).stdout)
    assert [(row["version"], row["num_lists"]) for row in said["rows"]] == [(2, 20)]
    assert said["verdict"] == "undecided"
    assert "preferred: undecided" in CliRunner().invoke(experiment, words, catch_exceptions=False).stdout
    for refused in (["--html", str(tmp_path / "page.html")], ["--auto-stop"]):
        assert isinstance(CliRunner().invoke(experiment, [*words, *refused]).exception, ConfigError)


def test_what_happens_after_the_end_counts_only_within_the_window() -> None:
    ended, later = VersionScope(1, {}, MARCH, SECOND), SECOND + 30 * DAY
    assert ended.last_moment(later, None) == SECOND
    assert ended.last_moment(later, 7.0) == SECOND + 7 * DAY
    assert ended.last_moment(MARCH + DAY, 7.0) == MARCH + DAY
    assert VersionScope(1, {}, MARCH).last_moment(later, 7.0) == later


def test_a_report_on_a_stopped_version_reaches_to_its_end(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, RENAMED)
    write_served(workspace, lists(("control", "treatment"), MARCH + DAY, 1))
    write_served(workspace, lists(("control", "variant"), SECOND + DAY, 2, first=20))
    assert str(report(workspace, "e", version=1).reach).startswith(
        "data up to (UTC): lists 2026-03-10 00:00:00"
    )


def test_what_an_earlier_version_did_does_not_end_the_one_that_runs(tmp_path: Path) -> None:
    workspace = ran_twice(tmp_path, RENAMED)
    write_served(
        workspace, [row for part in range(8) for row in lists(("control",), MARCH + DAY, 1, first=20 * part)]
    )
    words = ["report", "e", "--workspace", str(tmp_path), "--json", "--auto-stop", "--version", "1"]
    ran = CliRunner().invoke(experiment, words, catch_exceptions=False)
    said = json.loads(ran.stdout)
    assert "e goes on: --auto-stop acts on version 2 alone" in ran.stderr
    assert (said["version"], said["srm"]["ok"]) == (1, False)
    assert ExperimentRegistry(workspace).find("e").is_running
