import csv
import io
import json
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from recsys.cli import run
from tests.recsys.experiments.small_experiment import TEXT, toml

COMMANDS = [EntryPoint("experiment", "recsys.experiments.commands:experiment", "recsys.commands")]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:  # a function of words
    def command(*words: object, code: int = 0) -> Any:  # JSON
        place = [] if words[0] == "assign" else ["--workspace", str(tmp_path / "shop")]
        assert run(["experiment", *map(str, words), *place, "--json"], COMMANDS) == code
        said = capsys.readouterr()
        return said.err if code else json.loads(said.out)

    return command


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_operator_walks_from_a_definition_to_its_end(call: Any, tmp_path: Path) -> None:
    definition = written(tmp_path / "d.toml", TEXT)
    checked = call("validate", definition)
    assert checked["key"] == "tuned-text"
    assert any("there is no canary" in remark for remark in checked["remarks"])
    assert call("start", definition)["version"] == 1
    assert "differs in" in call("start", written(tmp_path / "x.toml", TEXT.replace("0.999", "0.9")), code=1)
    assert "covers all of its units already" in call("ramp", "tuned-text", "--coverage", 0.5, code=1)
    assert call("force", "tuned-text", "--unit", "u", "--arm", "treatment")["forced"] == {"u": "treatment"}
    [listed] = call("list")["experiments"]
    assert (listed["key"], listed["state"], listed["layer_range"]) == ("tuned-text", "running", [0.0, 0.5])
    assert call("stop", "tuned-text", "--reason", "done")["state"] == "stopped"
    shown = call("show", "tuned-text")
    assert [entry["action"] for entry in shown["audit"]] == ["start", "force", "stop"]
    assert shown["definition"]["arms"][1]["model"] == "canary"
    assert any("carries over" in remark for remark in call("validate", definition)["remarks"])


def test_a_metric_of_a_column_that_no_log_has_is_remarked_before_and_at_the_start(
    call: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    definition = written(tmp_path / "d.toml", toml().replace('value = "revenue"', 'value = "revenu"'))
    [remark] = [each for each in call("validate", definition)["remarks"] if "revenu'" in each]
    assert "revenue_before" in remark
    words = ["experiment", "start", str(definition), "--workspace", str(tmp_path / "shop")]
    assert run(words, COMMANDS) == 0
    assert remark in capsys.readouterr().err


def test_a_blurb_policy_that_is_not_configured_is_remarked(call: Any, tmp_path: Path) -> None:
    for policy, said in (("anything", True), ("extractive", False)):
        definition = written(tmp_path / "d.toml", toml(treatment=f'blurbs = "{policy}"'))
        assert any("published" in each for each in call("validate", definition)["remarks"]) == said


@pytest.mark.parametrize("content", [None, b"key = '\xff'", b"key ="])
def test_a_file_that_is_no_definition_is_told_in_one_line(
    call: Any,
    tmp_path: Path,
    content: bytes | None,
) -> None:
    path = tmp_path / "d.toml"
    if content is not None:
        path.write_bytes(content)
    for verb in ("validate", "start"):
        said = call(verb, path, code=1)
        assert said.startswith("error: ")
        assert "d.toml" in said
        assert said.count("\n") == 1


def test_people_get_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    definition = written(tmp_path / "d.toml", toml(top="coverage = 0.25"))
    for words in (
        ["validate", definition],
        ["start", definition],
        ["ramp", "e", "--coverage", "0.5"],
        ["list"],
        ["show", "e"],
    ):
        assert run(["experiment", *map(str, words), "--workspace", str(tmp_path)], COMMANDS) == 0
    said = capsys.readouterr().out
    assert f"{datetime.now(UTC):%Y}-" in said  # since when, at 80 columns too
    assert all(word in said for word in ("A/A test", "runs as version 1", "covers 0.5", "running", "ramp"))


def test_units_of_a_file_get_arms_and_buckets(call: Any, tmp_path: Path) -> None:
    definition = written(tmp_path / "d.toml", TEXT.replace("layer_range = [0.0, 0.5]", ""))
    units = written(tmp_path / "u.csv", "unit_id,country\n007,AT\n7,AT\n8,FR\n9,\n")
    rows = call("assign", "--definition", definition, "--units", units)
    assert [row["unit_id"] for row in rows] == ["007", "7", "8", "9"]
    assert all(row["arm"] in {"control", "treatment"} for row in rows[:2])
    assert [row["arm"] for row in rows[2:]] == [None, None]
    assert all(0 <= row["bucket"] < 10_000 for row in rows)
    assert rows[0]["bucket"] != rows[1]["bucket"]


def test_assignments_are_csv_unless_json_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    definition, units = written(tmp_path / "d.toml", toml()), written(tmp_path / "u.csv", "unit_id\na\nb\n")
    words = ["experiment", "assign", "--definition", str(definition), "--units", str(units)]
    assert run([*words, "--coverage", "0"], COMMANDS) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["unit_id"], row["arm"]) for row in rows] == [("a", ""), ("b", "")]
    assert run([*words, "--output", str(tmp_path / "out.parquet")], COMMANDS) == 0
    assert (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user\na\n", "expected a column unit_id, got user"),
        ("unit_id\na\na\n", "expected one row per unit, got 0 without unit_id and 1 repeated"),
        ("unit_id,x\n,1\na,2\n", "got 1 without unit_id"),
    ],
)
def test_files_that_are_no_units_are_refused(call: Any, tmp_path: Path, text: str, words: str) -> None:
    definition, units = written(tmp_path / "d.toml", toml()), written(tmp_path / "u.csv", text)
    assert words in call("assign", "--definition", definition, "--units", units, code=1)
    assert "cannot be read" in call(
        "assign", "--definition", definition, "--units", tmp_path / "no.csv", code=1
    )
