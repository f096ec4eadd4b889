"""Refuses calls that would only wait, before anything of them is read.

Of the limit (``serving.call_limit``), a shopper who waits may use all, what is fetched ahead a half, and what
runs at night a quarter: so the latter go first.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from enum import Enum
from typing import Any, Final, TypeAlias, cast

import grpc
from grpc_status import rpc_status

from serving.call import Call, Metadata, current_call
from serving.call_limit import Limit
from serving.errors import OverloadError
from serving.interceptors import Behaviour, CallInterceptor, Context, Stream
from serving.priority import Priority, current_priority, priority_of
from serving.status import rich_status

PUSHBACK = "grpc-retry-pushback-ms"
"""Metadata key: after how many milliseconds a call that was refused may come again, see gRFC A6."""

_LIMITED: Final = "/recsys.v1.RecommendationService/"
_EXEMPT: Final = "/grpc.health."
_RETRY_SECONDS: Final = 0.25
_LAG_SECONDS: Final = 0.02


class Pressure(Enum):
    """How short of memory the process is; ``serving.memory_guard``."""

    NONE = 0
    HIGH = 1
    """Optional work is dropped."""
    CRITICAL = 2
    """Everything is refused."""


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
        # a handler that takes a stream waits for no message
        self._refusing: object = grpc.stream_unary_rpc_method_handler(cast("Any", self._refuse_unread))

    async def intercept_service(
        self,
        continuation: Any,  # noqa: ANN401  # as inherited
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  # as inherited
        """Refuse a call that there is no room for before its message has come and the others were asked."""
        details = handler_call_details
        if details.method.startswith(_LIMITED):
            priority = priority_of(cast("Metadata | None", details.invocation_metadata))
            if not (self._may_take(priority) and self.limit.has_room(priority)):
                return self._refusing
        return await super().intercept_service(continuation, details)

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
        priority = priority_of(cast("Metadata | None", context.invocation_metadata()))
        if not self._may_take(priority):
            return False
        left = cast("float | None", context.time_remaining())  # the stubs forget calls without a deadline
        if left is not None and left < self.limit.busy_seconds:
            return False
        current_priority.set(priority)  # every call has a task, and so a context, of its own
        return self.limit.enter(priority)

    def _may_take(self, priority: Priority) -> bool:
        """Whether there is memory for a call."""
        pressure = self._pressure()
        if pressure is Pressure.HIGH:
            return priority is Priority.INTERACTIVE
        return pressure is Pressure.NONE

    def _leave(self) -> None:
        self.limit.leave(*_waited_and_busy(current_call.get()))

    def _guarded(self, behaviour: Behaviour) -> Behaviour:
        async def call(request: object, context: Context) -> object:
            if self._pressure() is Pressure.CRITICAL:
                return await self._refuse(context)
            return await behaviour(request, context)

        return call

    async def _refuse_unread(self, _messages: object, context: Context) -> object:
        return await self._refuse(context)

    async def _refuse(self, context: Context) -> object:
        self.num_refused += 1
        return await context.abort(*self._refusal)


def _waited_and_busy(call: Call | None) -> tuple[float, float]:
    """Of a call that ends now, seconds in which nobody worked on it, and in which somebody did."""
    if call is None:
        return 0.0, 0.0
    busy = sum(end - start for name, start, end in call.stages if name != "waiting")
    return time.perf_counter() - call.started - busy, busy
