"""What a report makes of lists that another model answered than their arm names."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.experiments.answering_models import answering_models, model_problems
from recsys.experiments.registry import ExperimentRegistry
from recsys.experiments.report import report
from recsys.experiments.result import Result
from recsys.workspace import Workspace
from tests.recsys.experiments.served_log import MARCH, retime, served, write_served
from tests.recsys.experiments.small_experiment import toml

Fields = Callable[[int], dict[str, Any]]
"""Columns of the treatment's list of a number."""


def reported(root: Path, treatment: Fields, *, model: str = "m2", version: int | None = 1) -> Result:
    """The report on 400 lists in either arm; those of control are answered by ``m1``."""
    workspace = Workspace(root)
    registry = ExperimentRegistry(workspace)
    registry.start(toml(treatment=f'model = "{model}"'), "d.toml")
    retime(registry, (MARCH,))
    time = MARCH + timedelta(days=1)
    rows = [
        served(2 * number + at + 1, f"{arm}{number}", arm, time, version)
        | (treatment(number) if arm == "treatment" else {})
        for number in range(400)
        for at, arm in enumerate(("control", "treatment"))
    ]
    write_served(workspace, rows)
    return report(workspace, "e")


def named(result: Result, code: str) -> list[tuple[str, str]]:
    return [(each.severity, each.message) for each in result.problems if each.code == code]


def test_many_lists_of_another_model_block_the_verdict(tmp_path: Path) -> None:
    found = reported(
        tmp_path,
        lambda number: {"substituted": ["e"]} if number < 40 else {"model_version": "m2"},
        model="canary",
    )
    [(severity, message)] = named(found, "substituted_model")
    assert severity == "blocking"
    assert message.startswith("not decided: 10.00% of treatment's lists (40 of 400) were answered by another")
    assert found.judgement.verdict == "blocked"
    assert message in found.judgement.reasons
    assert found.units == {"control": 400, "treatment": 400}  # who was meant to meet the arm still counts


def test_a_few_are_a_remark(tmp_path: Path) -> None:
    found = reported(
        tmp_path, lambda number: {"substituted": ["e"]} if number < 4 else {"model_version": "m2"}
    )
    assert [severity for severity, _ in named(found, "substituted_model")] == ["warning"]


@pytest.mark.parametrize(("version", "answered"), [(None, "m1"), (1, "m1"), (None, "m2"), (1, "m2")])
def test_a_version_that_an_arm_names_is_compared_with_the_one_that_answered(
    tmp_path: Path, version: int | None, answered: str
) -> None:
    found = reported(tmp_path, lambda _: {"model_version": answered}, version=version)
    assert bool(named(found, "substituted_model")) == (answered == "m1")


def test_a_part_that_several_models_played_is_told(tmp_path: Path) -> None:
    found = reported(tmp_path, lambda number: {"model_version": f"m{2 + number % 2}"}, model="canary")
    [(severity, message)] = named(found, "several_models")
    assert (severity, "m2 200, m3 200" in message) == ("warning", True)
    assert not named(found, "substituted_model")


def test_where_no_arm_names_a_model_it_is_no_matter_which_ones_served() -> None:
    lists = pl.DataFrame(
        {"arm": ["control"] * 9, "model_version": [f"m{at}" for at in range(9)], "substituted": [[]] * 9},
        schema_overrides={"substituted": pl.List(pl.String)},
    )
    unnamed: dict[str, str | None] = {"control": None, "treatment": None}
    assert model_problems(answering_models(lists, "e", unnamed), unnamed) == ()
    named = unnamed | {"treatment": "canary"}
    [several] = model_problems(answering_models(lists, "e", named), named)
    assert "m0 1, m1 1, m2 1 and 6 more lists" in several.message
