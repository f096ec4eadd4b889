"""What callers are told of each error: the one table from domain errors to gRPC."""

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from recsys.errors import (
    BlurbError,
    BundleError,
    CatalogueError,
    ConfigError,
    DataError,
    DiskFullError,
    FeatureMismatchError,
    IntakeError,
    InvalidRequestError,
    LeakageError,
    ModelConflictError,
    ObjectStoreError,
    RecsysError,
    StoreError,
    UnknownModelError,
)
from serving.errors import AccessError, ForbiddenError, OverloadError, QuotaError, UnauthenticatedError

_FULL_SECONDS = 30.0  # until somebody may have made room
DOMAIN = "recsys"
"""Domain of the reasons, in ``google.rpc.ErrorInfo``."""


@dataclass(frozen=True)
class PublicError:
    """How an error looks from outside."""

    code: grpc.StatusCode
    reason: str
    """A constant for programs, upper snake case."""
    text: str | None
    """A constant for people; ``None`` when the error's own words are meant for the caller."""


INTERNAL = PublicError(grpc.StatusCode.INTERNAL, "INTERNAL", "an internal error; the server's log tells more")
"""Every error that the table does not list."""

PUBLIC_ERRORS: dict[type[RecsysError], PublicError] = {
    InvalidRequestError: PublicError(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", None),
    IntakeError: PublicError(
        grpc.StatusCode.UNAVAILABLE,
        "INTAKE_UNAVAILABLE",
        "events cannot be recorded now; send them again",
    ),
    DiskFullError: PublicError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "DISK_FULL",
        "there is no room for events now; send them again later",
    ),
    CatalogueError: PublicError(
        grpc.StatusCode.UNAVAILABLE,
        "CATALOGUE_UNAVAILABLE",
        "the catalogue's changes cannot be read or written now; ask another server, or try again",
    ),
    BlurbError: PublicError(
        grpc.StatusCode.UNAVAILABLE, "BLURBS_UNAVAILABLE", "blurbs cannot be read or made now; try again"
    ),
    StoreError: PublicError(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "the online store is away"),
    ObjectStoreError: PublicError(
        grpc.StatusCode.UNAVAILABLE, "OBJECT_STORE_UNAVAILABLE", "the object store is away"
    ),
    BundleError: PublicError(
        grpc.StatusCode.FAILED_PRECONDITION, "BUNDLE_INVALID", "the model does not verify"
    ),
    FeatureMismatchError: PublicError(
        grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_MISMATCH", "the model needs other features"
    ),
    UnknownModelError: PublicError(grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN", "there is no such model"),
    ModelConflictError: PublicError(grpc.StatusCode.FAILED_PRECONDITION, "MODEL_CONFLICT", None),
    ConfigError: PublicError(
        grpc.StatusCode.FAILED_PRECONDITION, "CONFIGURATION_INVALID", "the server's configuration is wrong"
    ),
    DataError: PublicError(grpc.StatusCode.FAILED_PRECONDITION, "DATA_INVALID", "the server's data is wrong"),
    LeakageError: PublicError(grpc.StatusCode.INTERNAL, "LEAKAGE", INTERNAL.text),
    AccessError: PublicError(grpc.StatusCode.PERMISSION_DENIED, "ACCESS_DENIED", "not allowed"),
    UnauthenticatedError: PublicError(
        grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "a valid bearer token is needed"
    ),
    ForbiddenError: PublicError(
        grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN", "this token has no right to that method here"
    ),
    QuotaError: PublicError(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA", "the token's quota is used up"),
    OverloadError: PublicError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "the server has more to do than it can; come again"
    ),
}
"""Error type to what callers are told; a test requires every leaf of ``RecsysError``."""


def rich_status(error: Exception) -> Status:
    """The ``google.rpc.Status`` of an error: code, text, ``ErrorInfo``, field violations, time to retry."""
    public = next((PUBLIC_ERRORS[cls] for cls in type(error).__mro__ if cls in PUBLIC_ERRORS), INTERNAL)
    details: list[Message] = [ErrorInfo(reason=public.reason, domain=DOMAIN)]
    if isinstance(error, InvalidRequestError):
        details.append(_bad_request(error))
    if isinstance(error, QuotaError | OverloadError | DiskFullError):
        seconds = _FULL_SECONDS if isinstance(error, DiskFullError) else error.retry_after_seconds
        delay = Duration()
        delay.FromNanoseconds(int(seconds * 1e9))
        details.append(RetryInfo(retry_delay=delay))
    text = str(error) if public.text is None else public.text
    return Status(code=Code.Value(public.code.name), message=text, details=[_packed(d) for d in details])


def _bad_request(error: InvalidRequestError) -> BadRequest:
    return BadRequest(
        field_violations=[
            BadRequest.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ]
    )


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
