from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from recsys.experiments.persons import MAX_CROSSED_SHARE, crossing_problems, persons_of
from recsys.schema import TIMESTAMP

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lists(*rows: tuple[str, str, int, str]) -> pl.DataFrame:
    """Lists of (person, id that was served, minutes after noon, arm)."""
    return pl.DataFrame(
        [(unit, subject, NOON + timedelta(minutes=minutes), arm) for unit, subject, minutes, arm in rows],
        schema={"unit_id": pl.String, "subject": pl.String, "served_time": TIMESTAMP, "arm": pl.String},
        orient="row",
    )


def test_who_logs_in_across_arms_counts_for_the_first_one() -> None:
    found = persons_of(
        lists(
            ("u", "phone", 5, "treatment"),
            ("u", "u", 1, "control"),
            ("u", "u", 6, "control"),
            ("u", "u", 7, "control"),
            ("w", "tablet", 2, "treatment"),
            ("w", "w", 3, "control"),
            ("x", "x", 4, "control"),
        )
    )
    assert dict(found.units.select("unit_id", "arm").iter_rows()) == {
        "u": "control",
        "w": "treatment",
        "x": "control",
    }
    assert found.units.filter(unit_id="u").select("first_exposure", "num_lists").row(0) == (
        NOON + timedelta(minutes=1),
        4,
    )
    assert found.crossed.rows() == [
        ("u", "control", ["control", "treatment"], 0.25),
        ("w", "treatment", ["control", "treatment"], 0.5),
    ]
    assert found.mixed.is_empty()


def test_one_id_in_two_arms_is_left_out_whatever_else_the_person_did() -> None:
    found = persons_of(
        lists(("u", "u", 1, "control"), ("u", "u", 2, "treatment"), ("u", "phone", 3, "control"))
    )
    assert found.units.is_empty()
    assert found.crossed.is_empty()
    assert found.mixed.rows() == [("u", ["control", "treatment"], NOON + timedelta(minutes=1))]


def test_nobody_is_nobody() -> None:
    found = persons_of(lists())
    assert (found.units.height, found.mixed.height, found.crossed.height) == (0, 0, 0)
    assert crossing_problems(found.crossed, 0) == ()


@pytest.mark.parametrize(("num_crossed", "severity"), [(10, "warning"), (11, "blocking")])
def test_crossing_dilutes_and_blocks_above_a_tenth(num_crossed: int, severity: str) -> None:
    assert MAX_CROSSED_SHARE == 0.1
    rows = [
        row
        for number in range(num_crossed)
        for row in ((f"u{number}", "v", 1, "control"), (f"u{number}", f"u{number}", 2, "treatment"))
    ]
    (problem,) = crossing_problems(persons_of(lists(*rows)).crossed, 100)
    assert (problem.code, problem.severity) == ("crossed_arms", severity)
    assert f"{num_crossed} units ({num_crossed}.00%)" in problem.message
    assert f"{num_crossed / 2:.2f}% of an average unit's lists" in problem.message
    assert "diluted" in problem.message
