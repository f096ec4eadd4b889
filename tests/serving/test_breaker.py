"""Tests of the circuit breaker."""

from types import SimpleNamespace

import pytest

from serving import breaker as breaker_module
from serving.breaker import Breaker


def test_it_opens_after_five_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker()
    assert [breaker.failed() for _ in range(6)] == [False, False, False, False, True, False]
    assert breaker.is_open()


def test_a_success_in_between_keeps_it_closed() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open()


def test_while_open_it_lets_one_call_through_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(breaker_module, "time", SimpleNamespace(monotonic=lambda: now))
    breaker = Breaker()
    for _ in range(5):
        breaker.failed()
    assert breaker.is_open()
    now = 101.5
    assert [breaker.is_open(), breaker.is_open()] == [False, True]
    breaker.succeeded()
    assert not breaker.is_open()
