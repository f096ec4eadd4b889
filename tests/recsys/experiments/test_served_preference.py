"""Preferences from logs of drafted lists, by version and pair of models."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.experiments.commands import experiment
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.served_preference import ServedPreference, served_preference
from recsys.schema import EVENT_SCHEMA
from recsys.workspace import Workspace
from tests.recsys.experiments.served_log import MARCH, retime, served, write_served
from tests.recsys.experiments.small_experiment import toml

DAY = timedelta(days=1)
SECOND = MARCH + 10 * DAY


def definition(model: str, top: str = "") -> str:
    return toml(top=f"interleave = true\n{top}", treatment=f'model = "{model}"')


def draft(number: int, time: datetime, version: int | None, policy: str, **others: Any) -> dict[str, Any]:
    """A list of two items; the first one was picked by ``a``."""
    text = f"team_draft experiment=e {policy} teams=ab" if policy else ""
    about = {"policy": text, "item_ids": ["x", "y"]} | others
    return served(number, f"u{number}", "interleaved", time, version, **about)


def shop(root: Path, rows: list[dict[str, Any]], *, second: str = definition("m3")) -> Workspace:
    """A workspace with two versions of an experiment; everybody clicked on the first item of the lists."""
    workspace = Workspace(root)
    registry = ExperimentRegistry(workspace)
    registry.start(definition("m2"), "first.toml")
    registry.stop("e")
    registry.start(second, "second.toml")
    retime(registry, (MARCH, SECOND - DAY, SECOND))
    write_served(workspace, rows)
    clicks = [
        {
            "event_id": row["list_id"],
            "event_type": "click",
            "user_id": row["subject"],
            "item_id": "x",
            "event_time": row["served_time"],
            "received_time": row["served_time"],
            "list_id": row["list_id"],
        }
        for row in rows
        if row["subject"]
    ]
    EventLog(workspace.events).append(pl.DataFrame(clicks, schema=EVENT_SCHEMA), "all")
    return workspace


def counted(found: ServedPreference) -> list[tuple[int | None, str, str, int]]:
    return [(row.version, row.model_a, row.model_b, row.found.num_lists) for row in found.rows]


PAIRS = [
    *(draft(number, MARCH + DAY, 1, "a=m1 b=m2") for number in range(1, 5)),
    *(draft(number, MARCH + 2 * DAY, 1, "a=m0 b=m2") for number in range(5, 8)),
    *(draft(number, SECOND + DAY, 2, "a=m1 b=m3") for number in range(8, 10)),
]


def test_every_version_and_pair_of_models_has_a_row_and_different_pairs_are_not_pooled(
    tmp_path: Path,
) -> None:
    workspace = shop(tmp_path, PAIRS)
    found = served_preference(workspace, "e")
    assert counted(found) == [(1, "m1", "m2", 4), (1, "m0", "m2", 3), (2, "m1", "m3", 2)]
    assert found.pooled is None
    assert found.document()["verdict"] == "undecided"
    assert [row.found.verdict for row in found.rows] == ["undecided"] * 3  # by a handful of users
    assert found.rows[0].first == found.rows[0].last == MARCH + DAY
    alone = served_preference(workspace, "e", version=2)
    assert (counted(alone), alone.pooled) == ([(2, "m1", "m3", 2)], alone.rows[0].found)
    assert counted(served_preference(workspace, "e", until=MARCH + 2 * DAY)) == [(1, "m1", "m2", 4)]
    words = ["preference", "e", "--workspace", str(tmp_path)]
    said = CliRunner().invoke(experiment, words, catch_exceptions=False).stdout
    assert "not taken together" in said


def test_one_pair_under_two_versions_is_pooled_beside_its_rows(tmp_path: Path) -> None:
    rows = [draft(1, MARCH + DAY, 1, "a=m1 b=m2"), draft(2, SECOND + DAY, 2, "a=m1 b=m2")]
    workspace = shop(tmp_path, rows, second=definition("m2", 'salt = "again"'))
    found = served_preference(workspace, "e")
    assert counted(found) == [(1, "m1", "m2", 1), (2, "m1", "m2", 1)]
    assert found.pooled is not None
    assert (found.pooled.num_lists, found.pooled.clicks_a) == (2, 2)
    assert found.document()["num_lists"] == 2


def test_lists_that_can_tell_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    workspace = shop(
        tmp_path,
        [
            draft(1, MARCH + DAY, 1, "a=m1 b=m2"),
            draft(2, MARCH + DAY, 1, "a=m1 b=m2 degraded=b"),
            draft(3, MARCH + DAY, 1, "a=m1 b=m2", service_level="POPULAR"),
            draft(4, MARCH + DAY, 1, ""),
            draft(5, MARCH + DAY, 1, "a=m1 b=m2", subject=None),
            draft(6, MARCH + DAY, 1, "a=m1 b=m2", first_position=2),
            served(7, "u7", "treatment", MARCH + DAY, 1),
        ],
    )
    found = served_preference(workspace, "e")
    assert counted(found) == [(1, "m1", "m2", 1)]
    assert found.left_out == {"degraded": 2, "one_model": 1, "anonymous": 1}
    said = CliRunner().invoke(experiment, ["preference", "e", "--workspace", str(tmp_path)]).stdout
    assert "left out: 2 lists with a model that answered less than fully" in said
    with pytest.raises(DataError, match="no interleaved list of version 2"):
        served_preference(workspace, "e", version=2)


def test_lists_of_before_versions_were_kept_are_of_the_one_that_ran_then(tmp_path: Path) -> None:
    rows = [
        draft(1, MARCH + DAY, None, "a=m1 b=m2"),
        draft(2, SECOND + DAY, None, "a=m1 b=m3"),
        draft(3, MARCH - 1000 * DAY, None, "a=m1 b=m3"),
    ]
    found = served_preference(shop(tmp_path, rows), "e")
    assert counted(found) == [(None, "m1", "m3", 1), (1, "m1", "m2", 1), (2, "m1", "m3", 1)]


def test_a_test_with_a_plan_is_read_as_of_its_last_planned_user(tmp_path: Path) -> None:
    times = [SECOND + timedelta(hours=hour) for hour in range(1, 301)]
    rows = [draft(hour, time, 2, "a=m1 b=m3") for hour, time in enumerate(times)]
    analysis = '[analysis]\nmethod = "fixed"\nexpected_units = 250\n'
    workspace = shop(tmp_path, rows, second=definition("m3", "") + analysis)
    early = served_preference(workspace, "e", version=2, until=times[240]).rows[0].found
    assert "240 of 250 planned users" in early.reason
    then, later = (
        served_preference(workspace, "e", version=2, until=until).rows[0].found
        for until in (times[255], None)
    )
    assert (then, then.num_users) == (later, 250)
