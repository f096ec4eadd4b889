import json
from importlib.metadata import EntryPoint

import pytest

from recsys.cli import run
from tests.conftest import Trained

VERBS = [EntryPoint("diagnose", "serving.diagnose:diagnose", "recsys.commands")]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")


def test_a_user_is_shown_as_tables_and_findings(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["diagnose", "user", "coffee-user1", "--workspace", str(trained.workspace.root)]
    assert run(command, VERBS) == 0
    shown = capsys.readouterr().out
    for words in ("user coffee-user1, home", "co_occurrence", "service level", "- The ranker orders"):
        assert words in shown
    assert run(["diagnose", "user", "nobody", "--workspace", str(trained.workspace.root)], VERBS) == 0
    assert "- No events" in capsys.readouterr().out


def test_an_item_is_shown_as_tables_and_findings(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["diagnose", "item", "coffee-1", "--workspace", str(trained.workspace.root)]
    assert run([*command, "--user", "music-user1"], VERBS) == 0
    shown = capsys.readouterr().out
    for words in ("item coffee-1, home", "arabica coffee", "can offer it", "- It is offered to"):
        assert words in shown
    assert run(["diagnose", "item", "unicorn", "--workspace", str(trained.workspace.root)], VERBS) == 0
    assert "- Nobody knows it" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [["user", "coffee-user1"], ["item", "coffee-1"]])
def test_json_is_one_document(trained: Trained, capsys: pytest.CaptureFixture[str], asked: list[str]) -> None:
    options = ["--at", "2026-01-01", "--json", "--workspace", str(trained.workspace.root)]
    assert run(["diagnose", *asked, *options], VERBS) == 0
    document = json.loads(capsys.readouterr().out)
    assert document[f"{asked[0]}_id"] == asked[1]
    assert document["as_of"] == "2026-01-01T00:00:00+00:00"


def test_a_wrong_time_is_one_clear_line(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["diagnose", "user", "ann", "--at", "soon", "--workspace", str(trained.workspace.root)]
    assert run(command, VERBS) == 1
    assert capsys.readouterr().err.startswith("error: --at takes a time such as")
