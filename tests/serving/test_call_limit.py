"""Tests of the limit on calls under way."""

from dataclasses import dataclass

from serving.call_limit import Limit
from serving.priority import Priority

SHOPPER = Priority.INTERACTIVE


@dataclass
class Clock:
    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds


def window(limit: Limit, clock: Clock, waited: float, busy: float = 0.01, *, asked: int = 4) -> float:
    """Calls that waited so long come and go, and the limit after them."""
    clock.seconds += 1
    entered = sum(limit.enter(SHOPPER) for _ in range(asked))
    for _ in range(entered):
        limit.leave(waited, busy)
    return limit.value


def test_a_standing_line_lowers_it_by_half_at_most_and_never_below_the_least() -> None:
    clock = Clock()
    limit = Limit(16, 256, clock.now)
    assert limit.value == 32
    values = [window(limit, clock, waited=0.05, asked=32) for _ in range(4)]
    assert values[0] < 32
    assert values == sorted(values, reverse=True)
    assert [window(limit, clock, waited=60.0, asked=32) for _ in range(10)][-1] == 16


def test_sixteen_calls_at_once_are_let_in_however_slow_they_are() -> None:
    clock = Clock()
    limit = Limit(16, 256, clock.now)
    for _ in range(50):
        clock.seconds += 1
        assert all(limit.enter(SHOPPER) for _ in range(16))
        for _ in range(16):
            limit.leave(waited_seconds=7.0, busy_seconds=1.0)


def test_it_rises_only_while_it_keeps_calls_out_and_nobody_stands_in_line() -> None:
    clock = Clock()
    limit = Limit(4, 10, clock.now)
    assert [window(limit, clock, waited=0.0, asked=4) for _ in range(3)] == [8, 8, 8]
    assert [window(limit, clock, waited=0.0, asked=20) for _ in range(5)] == [9, 10, 10, 10, 10]


def test_a_line_before_the_event_loop_counts_too() -> None:
    clock = Clock()
    limit = Limit(2, 100, clock.now)
    limit.note_lag(0.5)
    before = limit.value
    assert window(limit, clock, waited=0.0) < before
    limit.note_lag(0.5)
    limit.note_lag(0.0)  # once it came in time: no standing line
    before = limit.value
    assert window(limit, clock, waited=0.0) == before


def test_a_line_of_a_few_times_the_work_is_not_worth_a_refusal() -> None:
    clock = Clock()
    limit = Limit(2, 100, clock.now)
    assert window(limit, clock, waited=0.25, busy=0.1) == 4
    assert window(limit, clock, waited=0.35, busy=0.1) < 4


def test_calls_on_which_nobody_worked_say_nothing() -> None:
    clock = Clock()
    limit = Limit(2, 100, clock.now)
    assert window(limit, clock, waited=9.0, busy=0.0) == 4
    assert limit.busy_seconds == 0
    assert limit.num_running == 0


def test_what_is_fetched_ahead_may_use_a_half_and_batches_a_quarter() -> None:
    limit = Limit(8, 16)
    assert sum(limit.enter(Priority.BATCH) for _ in range(20)) == 4
    assert sum(limit.enter(Priority.PREFETCH) for _ in range(20)) == 4
    assert sum(limit.enter(SHOPPER) for _ in range(20)) == 8
    assert limit.num_running == 16


def test_a_limit_of_one_lets_a_batch_through_when_nothing_else_runs() -> None:
    limit = Limit(1, 1)
    assert limit.enter(Priority.BATCH)
    assert not limit.enter(SHOPPER)
