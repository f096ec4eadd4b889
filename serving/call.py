"""What is known of one call while it runs: the record that logs, metrics and traces are written from.

It holds no ids of users or items and no texts. The interceptor opens it, the stages of an answer add to it
through a context variable, on the threads that rank too, and whoever is told when the call has ended reads
it. Outside of a call every function here does nothing.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from recsys.answer import RankedList

Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"


@dataclass(slots=True)
class Call:
    """One unary call. Times are those of ``time.perf_counter``, in seconds."""

    method: str
    """Full name, ``/package.Service/Method``."""
    metadata: Metadata
    """What the caller sent along; may hold credentials."""
    request_id: str
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0
    status: str = ""
    """Name of the gRPC status, once the call has ended."""
    placement: str = ""
    """A configured placement, once the request was found good; empty for other calls."""
    answer: RankedList | None = None
    """The ranked list, once there is one."""
    is_later_page: bool = False
    """Whether the answer is a further part of a list that an earlier call ranked."""
    arms: tuple[tuple[str, str], ...] = ()
    """Pairs of experiment and arm that could change the answer, once the request was found good."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Number of events of the request by what became of them."""
    blurbs: Counter[tuple[str, str]] | None = None
    """Number of items of the answer by the source and the freshness of their blurbs, where there are any."""
    stages: list[tuple[str, float, float]] = field(default_factory=list)
    """Name, start and end of each stage that ran, in order of their ends."""


Observer: TypeAlias = Callable[[Call], None]
"""Is told of every call when it has ended; must not raise."""

current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call that the running task serves."""


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a part of the current call."""
    started = time.perf_counter()
    try:
        yield
    finally:
        note_stage(name, started)


def note_stage(name: str, started: float) -> None:
    """A part of the current call ends now that began at a time of ``time.perf_counter``."""
    call = current_call.get()
    if call is not None:
        call.stages.append((name, started, time.perf_counter()))


def note_answer(placement: str, ranked: RankedList, *, is_later_page: bool = False) -> None:
    """Keep the answer to the current call."""
    call = current_call.get()
    if call is not None:
        call.placement, call.answer, call.is_later_page = placement, ranked, is_later_page


def note_arms(arms: tuple[tuple[str, str], ...]) -> None:
    """Keep what experiments made of the current call: pairs of experiment and arm."""
    call = current_call.get() if arms else None
    if call is not None:
        call.arms = arms


def elapsed_ms() -> float | None:
    """Milliseconds since the current call began; ``None`` outside of one."""
    call = current_call.get()
    return None if call is None else (time.perf_counter() - call.started) * 1000


def note_outcomes(outcomes: Iterable[str]) -> None:
    """Count what became of the current call's events, by the names of ``serving.intake.EventStatus``."""
    call = current_call.get()
    if call is not None:
        call.outcomes.update(outcomes)


def note_blurbs(found: Counter[tuple[str, str]]) -> None:
    """Keep how many items of the current answer have what kind of blurb."""
    call = current_call.get()
    if call is not None:
        call.blurbs = found
