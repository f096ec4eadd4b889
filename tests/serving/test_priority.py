"""Tests of what a caller says a call is."""

import pytest

from serving.priority import PRIORITY, Priority, priority_of


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, Priority.INTERACTIVE),
        ((), Priority.INTERACTIVE),
        (((PRIORITY, "prefetch"),), Priority.PREFETCH),
        ((("other", "batch"), (PRIORITY, " Batch ")), Priority.BATCH),
        (((PRIORITY, "very urgent"),), Priority.INTERACTIVE),
        (((PRIORITY, b"batch"),), Priority.INTERACTIVE),
    ],
)
def test_a_call_is_what_its_caller_says_and_a_shopper_s_otherwise(
    metadata: tuple[tuple[str, str | bytes], ...] | None, expected: Priority
) -> None:
    assert priority_of(metadata) is expected
