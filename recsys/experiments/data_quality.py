"""What is wrong with the data of an experiment, in words for the person who reads the result."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["blocking", "warning"]
"""A blocking problem forbids a verdict; a warning is to be weighed."""
OPEN_WINDOWS = "open_windows"
"""Code of units that are left out since their window is still open."""


@dataclass(frozen=True)
class Problem:
    """One entry of a report's data-quality box."""

    code: str
    """Stable name, such as ``mixed_arms``."""
    severity: Severity
    message: str
    """What was found, what it means and what to do."""
    metric: str | None = None
    """The metric that alone suffers from it; ``None`` for the whole experiment."""


def blocking(problems: tuple[Problem, ...], metric: str) -> tuple[Problem, ...]:
    """Those that forbid a verdict on a metric: its own and those of the whole experiment."""
    return tuple(p for p in problems if p.severity == "blocking" and p.metric in {None, metric})
