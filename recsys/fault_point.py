"""Places in the code where a test can end the process at once, as a power cut or ``kill -9`` would.

``RECSYS_FAULT=buffer-committed:3`` ends it the third time that it comes to the point ``buffer-committed``.
Without the variable a point costs one comparison.
"""

import os

EXIT_CODE = 137
"""What a process that was ended says, as if killed."""

_left: dict[str, int] = {}


def arm(fault: str) -> None:
    """Choose where this process ends.

    Args:
        fault: ``POINT:N``, N from 1 on; empty for nowhere.
    """
    _left.clear()
    if fault:
        point, _, number = fault.partition(":")
        _left[point] = int(number or "1")


def reach(point: str) -> None:
    """Say that the process has come to a point; it may end here."""
    if not _left or point not in _left:
        return
    _left[point] -= 1
    if not _left[point]:
        os._exit(EXIT_CODE)  # no buffer is flushed and no lock released but by the kernel


arm(os.environ.get("RECSYS_FAULT", ""))
