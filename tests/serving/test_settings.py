"""Tests of the process settings."""

import pytest

from recsys.errors import ConfigError
from serving.settings import load_settings


def test_environment_is_read_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_PORT", "6000")
    monkeypatch.setenv("RECSYS_RANKING_THREADS", "3")
    settings = load_settings(port=7000, host=None)
    assert (settings.host, settings.port, settings.ranking_threads) == ("127.0.0.1", 7000, 3)


def test_other_variables_with_the_prefix_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_WORKSPACE", "elsewhere")
    assert load_settings().port == 50051


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_REDIS_URL", "redis://:hunter2@localhost")
    assert "hunter2" not in repr(load_settings())


def test_a_wrong_value_is_named_but_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_TENANT", "no spaces allowed")
    with pytest.raises(ConfigError, match="tenant") as caught:
        load_settings()
    assert "no spaces" not in str(caught.value)
