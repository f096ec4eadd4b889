"""What happens around every call: it is admitted, recorded, and its errors are turned into statuses.

Health checks and reflection are admitted by the same rules, and those of them that stream are left alone
otherwise.
"""

import re
import time
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import grpc
import structlog
from grpc_status import rpc_status

from recsys.call_ids import REQUEST_ID
from recsys.errors import InvalidRequestError, RecsysError
from serving.access import Access
from serving.call import Call, Metadata, Observer, current_call
from serving.errors import AccessError
from serving.status import rich_status

_log = structlog.get_logger(__name__)

_HEALTH = "/grpc.health."
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
"""What gRPC knows of a call."""
Behaviour: TypeAlias = Callable[[object, Context], Awaitable[object]]
"""Answers a unary call."""
Stream: TypeAlias = Callable[[object, Context], AsyncIterator[object]]
"""Answers a call by several messages."""
_Handler: TypeAlias = "grpc.RpcMethodHandler[_Request, _Response]"
_Continuation: TypeAlias = (
    "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler[_Request, _Response] | None]]"
)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the behaviour of methods that take one message and answer with one, or with several.

    gRPC asks for the handler of every single call; the wrapped ones are kept.
    """

    def __init__(self) -> None:
        self._wrapped: dict[str, tuple[object, object]] = {}

    async def intercept_service(
        self,
        continuation: "_Continuation[_Request, _Response]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler[_Request, _Response] | None":
        """Replace the behaviour of a method by ``wrap``'s, or ``wrap_stream``'s."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or (handler.unary_unary is None and not _is_stream(handler, method)):
            return handler
        known, wrapped = self._wrapped.get(method, (None, None))
        if known is not handler:
            wrapped = self._wrap_handler(handler, method)
            self._wrapped[method] = handler, wrapped
        return cast("_Handler[_Request, _Response]", wrapped)

    def _wrap_handler(self, handler: "_Handler[_Request, _Response]", method: str) -> object:
        if handler.unary_unary is None:
            return grpc.unary_stream_rpc_method_handler(
                cast("Any", self.wrap_stream(cast("Stream", handler.unary_stream), method)),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        behaviour = cast("Behaviour", handler.unary_unary)  # the stubs know blocking behaviours only
        return grpc.unary_unary_rpc_method_handler(
            cast("Callable[[_Request, grpc.ServicerContext], _Response]", self.wrap(behaviour, method)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @abstractmethod
    def wrap(self, behaviour: Behaviour, method: str) -> Behaviour:
        """What is called instead of ``behaviour``."""

    @abstractmethod
    def wrap_stream(self, behaviour: Stream, method: str) -> Stream:
        """The same for a method that answers with a stream."""


class Recording(CallInterceptor):
    """Opens a record of every call, gives it a request id, and tells the observers when it has ended.

    Health checks come every second from everywhere and are left alone.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        super().__init__()
        self.observers = list(observers)
        """Whoever is told, in this order."""
        self.num_running = 0
        """Calls that have begun and not ended."""
        self.num_unobserved = 0
        """Calls of which an observer could not take note."""

    def wrap(self, behaviour: Behaviour, method: str) -> Behaviour:
        """Record one call."""
        if method.startswith(_HEALTH):
            return behaviour

        async def call(request: object, context: Context) -> object:
            record = self._begun(method, context)
            try:
                context.set_trailing_metadata(((REQUEST_ID, record.request_id),))
                response = await behaviour(request, context)
                record.status = "OK"
                return response
            finally:
                self._ended(record, context)

        return call

    def wrap_stream(self, behaviour: Stream, method: str) -> Stream:
        """Record one call, until its stream ends."""

        async def call(request: object, context: Context) -> AsyncIterator[object]:
            record = self._begun(method, context)
            try:
                context.set_trailing_metadata(((REQUEST_ID, record.request_id),))
                async for message in behaviour(request, context):
                    yield message
                record.status = "OK"
            finally:
                self._ended(record, context)

        return call

    def _begun(self, method: str, context: Context) -> Call:
        metadata = cast("Metadata", context.invocation_metadata() or ())
        record = Call(method, metadata, _request_id(metadata))
        current_call.set(record)  # every call has a task, and so a context, of its own
        structlog.contextvars.bind_contextvars(request_id=record.request_id)
        self.num_running += 1
        return record

    def _ended(self, record: Call, context: Context) -> None:
        self.num_running -= 1
        record.ended = time.perf_counter()
        record.status = record.status or _status_name(context)
        self._tell(record)

    def _tell(self, record: Call) -> None:
        for observe in self.observers:
            try:
                observe(record)
            except Exception:  # noqa: BLE001  # a full disk under the log must not fail a call
                self.num_unobserved += 1


class ErrorStatus(CallInterceptor):
    """Ends a call whose behaviour raised with the status that ``serving.status`` gives the error."""

    def wrap(self, behaviour: Behaviour, method: str) -> Behaviour:
        """Translate what ``behaviour`` raises."""

        async def call(request: object, context: Context) -> object:
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  # the outermost boundary: nothing internal leaves
                return await _end(error, method, context)

        return call

    def wrap_stream(self, behaviour: Stream, method: str) -> Stream:
        """Translate what ``behaviour`` raises."""

        async def call(request: object, context: Context) -> AsyncIterator[object]:
            try:
                async for message in behaviour(request, context):
                    yield message
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  # as above
                await _end(error, method, context)

        return call


class Admission(grpc.aio.ServerInterceptor):
    """Lets only those calls through that ``Access`` admits; the others reach no handler."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_service(
        self,
        continuation: "_Continuation[_Request, _Response]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler[_Request, _Response] | None":
        """Replace the handler of a call that is not admitted."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        metadata = handler_call_details.invocation_metadata or ()
        try:
            self._access.admit(handler_call_details.method, metadata)
        except AccessError as error:
            return cast("_Handler[_Request, _Response]", _refusing(error))
        return handler


async def _end(error: Exception, method: str, context: Context) -> object:
    """End a call with the status of what its behaviour raised."""
    if isinstance(error, RecsysError) and not isinstance(error, InvalidRequestError | AccessError):
        _log.warning("call failed", method=method, error=type(error).__name__, reason=str(error))
    elif not isinstance(error, RecsysError):
        _log.exception("call failed unexpectedly", method=method, exc_info=error)
    status = rpc_status.to_status(rich_status(error))
    trailing = (*(context.trailing_metadata() or ()), *(status.trailing_metadata or ()))
    return await context.abort(status.code, status.details, trailing)


def _is_stream(handler: "grpc.RpcMethodHandler[_Request, _Response]", method: str) -> bool:
    """Whether a method of ours answers with a stream."""
    return handler.unary_stream is not None and not method.startswith(_HEALTH)


def _refusing(error: AccessError) -> object:
    async def refuse(_request: object, _context: Context) -> object:
        raise error

    # The stubs know blocking behaviours only.
    return grpc.unary_unary_rpc_method_handler(
        cast("Callable[[object, grpc.ServicerContext], object]", refuse)
    )


def _request_id(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _REQUEST_ID_PATTERN.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _status_name(context: Context) -> str:
    """Name of a failed call's status; a call that was cancelled has none yet."""
    code: object = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "CANCELLED"
