"""What a check finds, and what becomes of a check that fails."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from recsys.errors import RecsysError

CAUGHT = (RecsysError, ImportError, OSError, subprocess.SubprocessError)
"""Errors of a check that are findings."""


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """Something optional is absent, or something is tight."""
    MISSING = "missing"
    """Something required is absent or broken."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    status: Status
    found: str
    mend: str = ""
    """What to do; empty when there is nothing to do."""


Checks = dict[str, tuple[Callable[[], Finding], str]]
"""By name: what looks, and how to mend what it raises."""


def attempt(check: Callable[[], Finding], mend: str) -> Finding:
    """Run a check; an error that it raises is a finding too."""
    try:
        return check()
    except CAUGHT as error:
        return Finding(Status.MISSING, str(error), mend)
