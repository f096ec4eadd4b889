"""Repeats calls that no complete answer came to, where gRPC's own retries end.

gRPC repeats what ``service_config.json`` says until an answer begins. From its first header on the call
counts as answered, so that a connection reset in the middle of an answer is an error (gRFC A6). Nor can gRPC
know that an event with an id counts once, however often it is sent. All attempts of a call have one request
id, so that a list which was served to each of them counts once.
"""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

import grpc

from recsys.call_ids import REQUEST_ID, new_call_id

_Answer = TypeVar("_Answer")

_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""Statuses of calls that nobody answered: a server cancels what reaches it in the moment that it stops."""
_FIRST_PAUSE_SECONDS = 0.1  # as in service_config.json, doubled each time and drawn from zero on
_LONGEST_PAUSE_SECONDS = 1.0


class CallOptions(TypedDict):
    """Keyword arguments of a call on a stub."""

    timeout: float
    metadata: tuple[tuple[str, str], ...]


class ClientClosedError(ValueError):
    """A call of a client that was closed, before it or meanwhile."""

    def __init__(self) -> None:
        super().__init__("the client is closed; expected an open one: call it before close, or make another")


@contextmanager
def telling_closed() -> Iterator[None]:
    """What gRPC raises on a closed channel, of two types, becomes a ``ClientClosedError``."""
    try:
        yield
    except (ValueError, grpc.aio.UsageError) as error:
        if "closed" not in str(error):
            raise
        raise ClientClosedError from error


def named_call(options: CallOptions) -> CallOptions:
    """The options with a request id for one call."""
    return CallOptions(
        timeout=options["timeout"], metadata=(*options["metadata"], (REQUEST_ID, new_call_id()))
    )


@dataclass
class Budget:
    """Repetitions that may still be made: a share of the calls that went well.

    While nobody answers, repeating would only multiply the load of whoever comes back.
    """

    most: float = 100.0
    """What can be saved up, and what there is at first."""
    per_answer: float = 0.1
    """Earned by every answer."""
    left: float = field(default=-1.0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.left = self.most

    def earn(self) -> None:
        """Count an answer."""
        if self.left < self.most:
            with self._lock:
                self.left = min(self.most, self.left + self.per_answer)

    def spend(self) -> bool:
        """Take one repetition; whether there was one."""
        with self._lock:
            if self.left < 1:
                return False
            self.left -= 1
        return True


@dataclass(frozen=True)
class Repeats:
    """Makes calls, each within one deadline, repetitions included."""

    budget: Budget = field(default_factory=Budget)

    def call(
        self, method: Callable[..., _Answer], request: object, options: CallOptions, most: int
    ) -> _Answer:
        """Call a method of a stub that blocks.

        Args:
            method: The method; it must not matter whether it is called once or more.
            request: Its request.
            options: Deadline of all attempts together, and metadata.
            most: Most repetitions.

        Raises:
            grpc.RpcError: The last attempt failed.
            ClientClosedError: The channel is closed.
        """
        attempts = _Attempts(self.budget, options, most)
        while True:
            try:
                with telling_closed():
                    answer = method(request, **attempts.options())
            except grpc.RpcError as error:
                if (pause := attempts.pause_seconds(error)) is None:
                    raise
                time.sleep(pause)
            else:
                self.budget.earn()
                return answer

    async def call_async(
        self, method: Callable[..., Awaitable[_Answer]], request: object, options: CallOptions, most: int
    ) -> _Answer:
        """The same for a method that is awaited."""
        attempts = _Attempts(self.budget, options, most)
        while True:
            try:
                with telling_closed():
                    answer = await method(request, **attempts.options())
            except grpc.RpcError as error:
                if (pause := attempts.pause_seconds(error)) is None:
                    raise
                await asyncio.sleep(pause)
            else:
                self.budget.earn()
                return answer


class _Attempts:
    """The attempts of one call."""

    def __init__(self, budget: Budget, options: CallOptions, most: int) -> None:
        self._budget, self._first, self._most = budget, named_call(options), most
        self._ends = time.monotonic() + options["timeout"]
        self._num_failed = 0

    def options(self) -> CallOptions:
        """Of the next attempt, which gets what is left of the time."""
        if not self._num_failed:
            return self._first
        return CallOptions(timeout=self._seconds_left, metadata=self._first["metadata"])

    def pause_seconds(self, error: grpc.RpcError) -> float | None:
        """Until the next attempt, longer after each and by chance, so that clients do not come back as one.

        ``None`` when there is none: somebody did answer, or attempts, time or budget are used up.
        """
        self._num_failed += 1
        longest = min(_FIRST_PAUSE_SECONDS * 2 ** (self._num_failed - 1), _LONGEST_PAUSE_SECONDS)
        pause = random.uniform(0, longest)
        may_repeat = error.code() in _UNANSWERED and self._num_failed <= self._most
        return pause if may_repeat and pause < self._seconds_left and self._budget.spend() else None

    @property
    def _seconds_left(self) -> float:
        return max(self._ends - time.monotonic(), 0.0)
