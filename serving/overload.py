"""Refuses calls that would only wait, before anything of them is read.

How many calls may be under way follows from how long they stand in line (Nichols and Jacobson, Controlling
Queue Delay, 2012): when even the luckiest call of a while has waited for long, there is a standing queue, and
the limit falls; when the limit is what keeps calls out and there is no such queue, it rises. Of the limit, a
shopper who waits may use all, what is fetched ahead a half, and what runs at night a quarter: so the latter
go first.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from enum import Enum
from typing import Final, TypeAlias, cast

from grpc_status import rpc_status

from serving.call import Call, Metadata, current_call
from serving.errors import OverloadError
from serving.interceptors import Behaviour, CallInterceptor, Context, Stream
from serving.status import rich_status

PRIORITY = "x-recsys-priority"
"""Metadata key: ``interactive``, ``prefetch`` or ``batch``; anything else is interactive."""
PUSHBACK = "grpc-retry-pushback-ms"
"""Metadata key: after how many milliseconds a call that was refused may come again, see gRFC A6."""

_LIMITED: Final = "/recsys.v1.RecommendationService/"
_EXEMPT: Final = "/grpc.health."
_WINDOW_SECONDS: Final = 0.1
_MIN_CALLS: Final = 4  # of a window that says something
_SHORTEST_QUEUE_SECONDS: Final = 0.02  # that is worth refusing calls for
_QUEUE_SHARE: Final = 3.0  # the same, in mean times that a call is worked on
_SHRINK: Final = 0.5  # at most, in one window
_FIRST: Final = 8  # calls per least one, at the start
_BASE_SHARE: Final = 0.2  # of a new call in the mean time that calls take
_RETRY_SECONDS: Final = 0.25
_LAG_SECONDS: Final = 0.02


class Priority(Enum):
    """How much a call matters, with the share of the limit that it may use."""

    INTERACTIVE = 1.0
    PREFETCH = 0.5
    BATCH = 0.25


class Pressure(Enum):
    """How short of memory the process is; ``serving.memory_guard``."""

    NONE = 0
    HIGH = 1
    """Optional work is dropped."""
    CRITICAL = 2
    """Everything is refused."""


class Limit:
    """An adaptive limit on the calls under way; for one thread."""

    def __init__(self, least: int, most: int, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with what a server that has just started is good for.

        Args:
            least: Never fewer calls than this are let through; what keeps all threads busy.
            most: Never more.
            now: A monotonic clock, seconds.
        """
        self._least, self._most, self._now = least, most, now
        self.value = float(min(_FIRST * least, most))
        """Calls that may be under way."""
        self.num_running = 0
        self.busy_seconds = 0.0
        """Mean time for which a call was worked on lately."""
        self._window_end = 0.0
        self._waits: list[float] = []
        self._lags: list[float] = []
        self._was_full = False

    def enter(self, priority: Priority) -> bool:
        """Let a call through, or not; one that was let through ends with ``leave``."""
        if self.num_running >= max(1.0, self.value * priority.value):
            self._was_full = self._was_full or priority is Priority.INTERACTIVE
            return False
        self.num_running += 1
        return True

    def leave(self, waited_seconds: float, busy_seconds: float) -> None:
        """A call has ended.

        Args:
            waited_seconds: How long it stood in line.
            busy_seconds: How long it was worked on; 0 for one that never was.
        """
        self.num_running -= 1
        if busy_seconds:
            share = _BASE_SHARE if self.busy_seconds else 1.0
            self.busy_seconds += share * (busy_seconds - self.busy_seconds)
            self._waits.append(waited_seconds)
        if (now := self._now()) >= self._window_end and len(self._waits) >= _MIN_CALLS:
            self._adapt()
            self._window_end = now + _WINDOW_SECONDS

    def note_lag(self, seconds: float) -> None:
        """How long the thread that lets calls through came to it too late."""
        self._lags.append(seconds)

    def _adapt(self) -> None:
        allowed = max(_SHORTEST_QUEUE_SECONDS, _QUEUE_SHARE * self.busy_seconds)
        queue = max(min(self._waits), min(self._lags, default=0.0))
        if queue > allowed:
            running = min(self.value, self.num_running + 1)
            self.value = max(self._least, running * max(_SHRINK, allowed / queue))
        elif self._was_full:
            self.value = min(self._most, self.value + 1)
        self._waits, self._lags, self._was_full = [], [], False


Guard: TypeAlias = Callable[[], Pressure]


class Overload(CallInterceptor):
    """Refuses what ``Limit`` does not let through, what would come too late, and what memory has no room for.

    It stands before all other interceptors, so that a refusal costs as little as can be.
    """

    def __init__(self, limit: Limit, pressure: Guard = lambda: Pressure.NONE) -> None:
        super().__init__()
        self.limit = limit
        self.num_refused = 0
        """Calls refused since the start; no other record is made of them."""
        self._pressure = pressure
        status = rpc_status.to_status(rich_status(OverloadError(_RETRY_SECONDS)))
        pushback = (PUSHBACK, str(round(_RETRY_SECONDS * 1000)))
        self._refusal = status.code, status.details, (*status.trailing_metadata, pushback)

    def wrap(self, behaviour: Behaviour, method: str) -> Behaviour:
        """Count a call in and out, or refuse it."""
        if method.startswith(_EXEMPT):
            return behaviour
        if not method.startswith(_LIMITED):
            return self._guarded(behaviour)

        async def call(request: object, context: Context) -> object:
            if not self._admits(context):
                return await self._refuse(context)
            try:
                return await behaviour(request, context)
            finally:
                self._leave()

        return call

    def wrap_stream(self, behaviour: Stream, method: str) -> Stream:
        """Refuse a stream as ``wrap`` refuses a call, and count it in and out until it has answered first."""
        limited = method.startswith(_LIMITED)

        async def call(request: object, context: Context) -> AsyncIterator[object]:
            if not (self._admits(context) if limited else self._pressure() is not Pressure.CRITICAL):
                await self._refuse(context)
            with ExitStack() as counted:
                if limited:
                    counted.callback(self._leave)
                async for message in behaviour(request, context):
                    counted.close()  # what comes later waits for others and costs nothing
                    yield message

        return call

    async def watch_loop(self) -> None:
        """Note how late the event loop is, until cancelled: calls stand in line before it too, unseen."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(_LAG_SECONDS)
            self.limit.note_lag(time.monotonic() - began - _LAG_SECONDS)

    def _admits(self, context: Context) -> bool:
        priority, pressure = _priority(context), self._pressure()
        if pressure is Pressure.CRITICAL:
            return False
        if pressure is Pressure.HIGH and priority is not Priority.INTERACTIVE:
            return False
        left = cast("float | None", context.time_remaining())  # the stubs forget calls without a deadline
        if left is not None and left < self.limit.busy_seconds:
            return False
        return self.limit.enter(priority)

    def _leave(self) -> None:
        self.limit.leave(*_waited_and_busy(current_call.get()))

    def _guarded(self, behaviour: Behaviour) -> Behaviour:
        async def call(request: object, context: Context) -> object:
            if self._pressure() is Pressure.CRITICAL:
                return await self._refuse(context)
            return await behaviour(request, context)

        return call

    async def _refuse(self, context: Context) -> object:
        self.num_refused += 1
        return await context.abort(*self._refusal)


def _priority(context: Context) -> Priority:
    metadata: Metadata = context.invocation_metadata() or ()  # type: ignore[assignment]  # grpc's own tuple
    for key, value in metadata:
        if key == PRIORITY and isinstance(value, str):
            return Priority.__members__.get(value.strip().upper(), Priority.INTERACTIVE)
    return Priority.INTERACTIVE


def _waited_and_busy(call: Call | None) -> tuple[float, float]:
    """Of a call that ends now, seconds in which nobody worked on it, and in which somebody did."""
    if call is None:
        return 0.0, 0.0
    busy = sum(end - start for name, start, end in call.stages if name != "waiting")
    return time.perf_counter() - call.started - busy, busy
