import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from recsys.errors import ConfigError
from recsys.experiments.analysis import analyze
from recsys.experiments.commands import experiment as command
from recsys.experiments.group_sequential import alpha_spent, bounds
from recsys.experiments.look_book import read_looks
from recsys.experiments.result import Result
from recsys.experiments.result_json import as_json
from recsys.experiments.sitting import sit
from recsys.experiments.unit_table import check_units
from tests.recsys.experiments.small_experiment import toml
from tests.recsys.experiments.unit_data import CLICK_RATE, REVENUE, experiment, units

BETTER, EQUAL = units(4000, lift=1.2), units(4000, seed=3)
FOUR: dict[str, Any] = {"method": "group_sequential", "looks": 4, "expected_units": 8000}


def sat(book: Path, frame: pl.DataFrame, *metrics: dict[str, Any], **analysis: Any) -> Result:
    defined = experiment(*metrics, **analysis)
    table = check_units(frame, defined)
    return sit(lambda past: analyze(defined, table, past=past), book)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "looks.jsonl"


def test_between_looks_nothing_is_decided_and_the_next_one_is_named(book: Path) -> None:
    first = sat(book, EQUAL.head(2000), **FOUR)
    assert first.judgement.verdict == "continue"
    between = sat(book, BETTER.head(3998), **FOUR)
    assert between.judgement.verdict == "continue"
    assert "the next of 4 looks is at 4,000" in between.judgement.reasons[0]
    assert between.metrics[0].comparisons[0].absolute.estimate
    taken = sat(book, BETTER, **FOUR)
    assert taken.judgement.verdict == "ship"
    assert [look.units for look in read_looks(book)] == [2000, 4000]
    assert taken.reading.past == read_looks(book)


def test_a_look_is_kept_with_its_bound_and_what_it_spent(book: Path) -> None:
    sat(book, EQUAL.head(2200), **FOUR)
    result = sat(book, EQUAL, **FOUR)
    early, late = read_looks(book)
    fractions = (0.275, 0.5)
    assert (early.fraction, late.fraction) == fractions
    assert late.bound == pytest.approx(bounds(fractions, 0.05, "obrien_fleming")[-1])
    assert late.alpha_spent == pytest.approx(alpha_spent(0.5, 0.05, "obrien_fleming"))
    (comparison,) = result.metrics[0].comparisons
    assert late.z["arm1"] == pytest.approx((comparison.absolute.estimate or 0) / comparison.std_error)
    document = json.loads(json.dumps(as_json(result)))
    assert [look["units"] for look in document["looks"]] == [2200, 4000]
    assert document["next_look_units"] == 6000


def test_a_decision_is_repeated_whatever_more_data_say(book: Path) -> None:
    assert sat(book, BETTER, **FOUR).judgement.verdict == "ship"
    again = sat(book, units(6000, lift=0.8), **FOUR)
    assert again.judgement.verdict == "ship"
    assert again.judgement.arms == {"arm1": "ship"}
    assert "at 4,000 units" in again.judgement.reasons[0]
    assert any("decides once" in reason for reason in again.judgement.reasons)
    assert len(read_looks(book)) == 1


def test_harm_and_broken_data_go_before_a_decision(book: Path) -> None:
    assert sat(book, BETTER, REVENUE, CLICK_RATE, **FOUR).judgement.verdict == "ship"
    harmed = BETTER.with_columns(clicks=pl.when(pl.col("arm") == "arm1").then(0).otherwise("clicks"))
    assert sat(book, harmed, REVENUE, CLICK_RATE, **FOUR).judgement.verdict == "stop"
    lost = BETTER.filter((pl.col("arm") == "control") | (pl.int_range(pl.len()) % 3 != 0))
    assert sat(book, lost, REVENUE, CLICK_RATE, **FOUR).judgement.verdict == "blocked"
    assert len(read_looks(book)) == 1


def test_a_fixed_test_without_a_plan_decides_once_and_says_what_readings_cost(book: Path) -> None:
    assert sat(book, EQUAL.head(1000)).judgement.verdict == "continue"
    assert sat(book, EQUAL.head(1000)).judgement.verdict == "continue"
    second = sat(book, EQUAL.head(2000))
    assert "reading 2 of a test that holds for one" in second.judgement.reasons[-1]
    assert "is 8% by now" in second.judgement.reasons[-1]
    assert sat(book, BETTER).judgement.verdict == "ship"
    worse = sat(book, units(5000, lift=0.8))
    assert worse.judgement.verdict == "ship"
    assert [look.verdict for look in read_looks(book)] == ["continue", "continue", "ship"]


def test_a_fixed_test_is_read_at_its_planned_size_and_then_repeated(book: Path) -> None:
    assert sat(book, BETTER.head(3000), expected_units=4000).judgement.verdict == "continue"
    assert not book.exists()
    assert sat(book, units(4000, lift=0.9), expected_units=4000).judgement.verdict == "stop"
    assert sat(book, units(5000, lift=1.2), expected_units=4000).judgement.verdict == "stop"


def test_looks_of_an_earlier_run_do_not_count(book: Path) -> None:
    sat(book, BETTER)
    assert read_looks(book, since=datetime(2300, 1, 1, tzinfo=UTC)) == ()


def test_a_line_that_was_cut_off_is_none_and_a_damaged_one_an_error(book: Path) -> None:
    sat(book, EQUAL.head(1000))
    whole = book.read_bytes()
    book.write_bytes(whole + b'{"time": "2026')
    assert len(read_looks(book)) == 1
    sat(book, EQUAL.head(2000))
    assert len(read_looks(book)) == 2
    book.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(ConfigError, match="book of looks"):
        sat(book, EQUAL)


def test_a_book_that_cannot_be_written_gives_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="book of looks"):
        sat(tmp_path / "file" / "looks.jsonl", BETTER)


def test_analyses_of_a_file_keep_a_book_where_one_is_given(tmp_path: Path) -> None:
    definition, data = tmp_path / "d.toml", tmp_path / "units.parquet"
    planned = '[analysis]\nmethod = "group_sequential"\nlooks = 4\nexpected_units = 8000\n'
    definition.write_text(toml() + planned, encoding="utf-8")
    BETTER.with_columns(pl.col("arm").replace("arm1", "treatment")).write_parquet(data)
    words = ["analyze", "--definition", str(definition), "--data", str(data), "--json"]
    unkept = json.loads(CliRunner().invoke(command, words, catch_exceptions=False).stdout)
    assert [problem["code"] for problem in unkept["data_quality"]] == ["unknown_looks"]
    kept = [*words, "--looks", str(tmp_path / "looks.jsonl")]
    for _ in range(2):
        found = json.loads(CliRunner().invoke(command, kept, catch_exceptions=False).stdout)
        assert (found["verdict"], len(found["looks"]), found["data_quality"]) == ("ship", 1, [])
