"""Tests of the verb ``serve``, as far as it goes without a model."""

from importlib.metadata import EntryPoint

import pytest

from recsys.cli import run

SERVE = EntryPoint("serve", "serving.commands:serve", "recsys.commands")


@pytest.mark.parametrize("flags", [["--port", "99999"], ["--clock", "sundial"], ["--workers", "0"]])
def test_a_wrong_flag_is_wrong_usage(flags: list[str]) -> None:
    assert run(["serve", *flags], [SERVE]) == 2


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"], [SERVE]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--host", "--port", "--redis", "--clock", "--workspace"))
