"""Every error that recsys raises on purpose has a status."""

from collections.abc import Iterator

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from recsys.errors import FeatureMismatchError, FieldViolation, IntakeError, InvalidRequestError, RecsysError
from serving.status import PUBLIC_ERRORS, rich_status


def leaves(cls: type[RecsysError]) -> Iterator[type[RecsysError]]:
    for child in cls.__subclasses__():
        if child.__module__ in {"recsys.errors", "serving.errors"}:
            yield child
            yield from leaves(child)


@pytest.mark.parametrize("error", sorted(leaves(RecsysError), key=str))
def test_every_error_has_a_status(error: type[RecsysError]) -> None:
    assert error in PUBLIC_ERRORS


def test_reasons_are_distinct() -> None:
    reasons = [public.reason for public in PUBLIC_ERRORS.values()]
    assert len(set(reasons)) == len(reasons)


def test_a_subclass_has_a_status_of_its_own() -> None:
    status = rich_status(FeatureMismatchError("internal words"))
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "FEATURE_MISMATCH"
    assert status.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "internal words" not in status.message


def test_an_error_that_is_not_listed_is_internal_and_mute() -> None:
    status = rich_status(KeyError("password"))
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert "password" not in status.message


def test_a_bad_request_names_its_fields() -> None:
    status = rich_status(InvalidRequestError(FieldViolation("page_size", "expected 0 or more, got -1")))
    bad_request = BadRequest()
    assert status.details[1].Unpack(bad_request)
    [violation] = bad_request.field_violations
    assert (violation.field, violation.description) == ("page_size", "expected 0 or more, got -1")
    assert status.message == "page_size: expected 0 or more, got -1"


def test_a_failed_intake_may_be_tried_again() -> None:
    assert rich_status(IntakeError("disk full")).code == grpc.StatusCode.UNAVAILABLE.value[0]
