"""What happens around every unary call: a request id, an access log, and errors turned into statuses.

Logs hold no ids of users or items and no texts.
"""

import re
import time
import uuid
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar, cast

import grpc
import structlog
from grpc_status import rpc_status

from recsys.errors import InvalidRequestError, RecsysError
from serving.status import rich_status

_log = structlog.get_logger(__name__)

REQUEST_ID = "x-request-id"
"""Metadata key: the caller's id of the request, or ours; it comes back in the initial metadata."""

_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_Behaviour: TypeAlias = Callable[[object, _Context], Awaitable[object]]


class _UnaryInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the behaviour of unary methods and leaves streaming ones (health watch, reflection) alone."""

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[_Request, _Response] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[_Request, _Response] | None":
        """Replace the behaviour of a unary method by ``wrap``'s."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        method = handler_call_details.method
        behaviour = cast("_Behaviour", handler.unary_unary)  # the stubs know blocking behaviours only
        return grpc.unary_unary_rpc_method_handler(
            cast("Callable[[_Request, grpc.ServicerContext], _Response]", self.wrap(behaviour, method)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @abstractmethod
    def wrap(self, behaviour: _Behaviour, method: str) -> _Behaviour:
        """What is called instead of ``behaviour``."""


class AccessLog(_UnaryInterceptor):
    """Gives every call a request id and logs its method, status and duration."""

    def wrap(self, behaviour: _Behaviour, method: str) -> _Behaviour:
        """Log one line per call."""

        async def call(request: object, context: _Context) -> object:
            started = time.perf_counter()
            request_id = _request_id(context)
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await context.send_initial_metadata(((REQUEST_ID, request_id),))
                finished = False
                try:
                    response = await behaviour(request, context)
                    finished = True
                    return response
                finally:
                    duration_ms = round((time.perf_counter() - started) * 1000, 2)
                    status = "OK" if finished else _status_name(context)
                    _log.info(
                        "call", request_id=request_id, method=method, status=status, duration_ms=duration_ms
                    )

        return call


class ErrorStatus(_UnaryInterceptor):
    """Ends a call whose behaviour raised with the status that ``serving.status`` gives the error."""

    def wrap(self, behaviour: _Behaviour, method: str) -> _Behaviour:
        """Translate what ``behaviour`` raises."""

        async def call(request: object, context: _Context) -> object:
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except InvalidRequestError as error:
                problem: Exception = error
            except RecsysError as error:
                _log.warning("call failed", method=method, error=type(error).__name__, reason=str(error))
                problem = error
            except Exception as error:  # noqa: BLE001  # the outermost boundary: nothing internal leaves
                _log.exception("call failed unexpectedly", method=method)
                problem = error
            status = rpc_status.to_status(rich_status(problem))
            return await context.abort(status.code, status.details, status.trailing_metadata)

        return call


def _request_id(context: _Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and _REQUEST_ID_PATTERN.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _status_name(context: _Context) -> str:
    """Name of a failed call's status; a call that was cancelled has none yet."""
    code: object = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "CANCELLED"
