"""Tests of the probe."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from recsys.cli import run
from serving.server import LIVENESS, READINESS
from tests.serving.running import free_port, running_server

HEALTH = EntryPoint("health", "serving.health:health", "recsys.commands")


def test_a_probe_exits_by_what_the_server_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_server(tmp_path) as where:
        for service in (READINESS, LIVENESS, "", "recsys.v1.EventService"):
            words = ["health", "--address", where, "--service", service, "--timeout", "20"]
            assert run(words, [HEALTH]) == 0
            assert capsys.readouterr().out == "SERVING\n"
        assert run(["health", "--address", where, "--service", "coffee"], [HEALTH]) == 1
        assert "NOT_FOUND" in capsys.readouterr().err


def test_a_probe_of_nobody_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--address", f"127.0.0.1:{free_port()}", "--timeout", "0.2"], [HEALTH]) == 1
    assert "does not tell its health" in capsys.readouterr().err
