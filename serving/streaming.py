"""Methods that answer with a stream: their errors become statuses as those of the others do."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status

from recsys.errors import InvalidRequestError, RecsysError
from serving.status import rich_status

_Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_log = structlog.get_logger(__name__)


def streaming(
    behaviour: Callable[[bytes, Any], AsyncIterator[Message]], method: str
) -> Callable[[bytes, _Context], AsyncIterator[Message]]:
    """A behaviour whose errors end the call with the status that ``serving.status`` gives them."""

    async def call(raw: bytes, context: "grpc.aio.ServicerContext[object, object]") -> AsyncIterator[Message]:
        try:
            async for message in behaviour(raw, context):
                yield message
        except InvalidRequestError as error:
            problem: Exception = error
        except RecsysError as error:
            _log.warning("call failed", method=method, error=type(error).__name__, reason=str(error))
            problem = error
        except Exception as error:  # noqa: BLE001  # the outermost boundary: nothing internal leaves
            _log.exception("call failed unexpectedly", method=method)
            problem = error
        else:
            return
        status = rpc_status.to_status(rich_status(problem))
        await context.abort(status.code, status.details, status.trailing_metadata or ())

    return call
