"""The clock that a server reads: ``wall`` time, or ``replay`` from the end of a historical log."""

import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Tells the time as of which answers are computed."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


class WallClock:
    """The machine's time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class ReplayClock:
    """A log's end plus the time since the start, so that short decays mean what they mean in the data."""

    log_end_ms: int
    _started_ns: int = field(default_factory=time.monotonic_ns)

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC, in the log's own time."""
        return self.log_end_ms + 1 + (time.monotonic_ns() - self._started_ns) // 1_000_000
