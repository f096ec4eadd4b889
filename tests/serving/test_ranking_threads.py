"""Tests of the order in which calls are ranked."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from functools import partial
from threading import Event

import pytest

from serving.priority import Priority, current_priority
from serving.ranking_threads import RankingThreads
from tests.serving.running import PATIENCE_SECONDS


@pytest.fixture
def threads() -> Iterator[RankingThreads]:
    with RankingThreads(1) as threads:
        yield threads


def submitted(threads: RankingThreads, priority: Priority, work: Callable[[], None]) -> "Future[None]":
    def submit() -> "Future[None]":
        current_priority.set(priority)
        return threads.submit(work)

    return copy_context().run(submit)


def held(threads: RankingThreads) -> Event:
    """Keep the only thread until an event is set."""
    started, released = Event(), Event()

    def hold() -> None:
        started.set()
        assert released.wait(PATIENCE_SECONDS)

    threads.submit(hold)
    assert started.wait(PATIENCE_SECONDS)
    return released


def test_what_a_shopper_waits_for_goes_first_and_equals_in_order(threads: RankingThreads) -> None:
    released, done = held(threads), list[str]()
    calls = [
        submitted(threads, priority, partial(done.append, f"{priority.name} {n}"))
        for n, priority in enumerate([Priority.BATCH, Priority.PREFETCH, Priority.INTERACTIVE] * 2)
    ]
    released.set()
    for call in calls:
        call.result(PATIENCE_SECONDS)
    assert done == ["INTERACTIVE 2", "INTERACTIVE 5", "PREFETCH 1", "PREFETCH 4", "BATCH 0", "BATCH 3"]


def test_work_that_nobody_waits_for_any_longer_is_left_undone(threads: RankingThreads) -> None:
    released, done = held(threads), list[str]()
    expired = threads.submit(done.append, "expired")
    wanted = threads.submit(done.append, "wanted")
    assert expired.cancel()
    released.set()
    wanted.result(PATIENCE_SECONDS)
    assert done == ["wanted"]


def test_results_and_errors_reach_whoever_waits(threads: RankingThreads) -> None:
    assert threads.submit(max, 1, 2, key=lambda number: -number).result(PATIENCE_SECONDS) == 1
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(PATIENCE_SECONDS)


def test_what_waits_is_cancelled_at_the_end_and_nothing_more_is_taken() -> None:
    threads = RankingThreads(1)
    released = held(threads)
    waiting = threads.submit(pytest.fail, "the server stops")
    threads.shutdown(wait=False, cancel_futures=True)
    released.set()
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE_SECONDS)
    with pytest.raises(RuntimeError):
        threads.submit(print)
    threads.shutdown()
