"""What the server must not know of people: erased ones, and those who object to being profiled."""

from pathlib import Path

from recsys.influence import AUTOMATED_PREFIX
from recsys.objections import ANONYMOUS_PREFIX, Objections
from recsys.tombstones import Tombstones

_NOBODY = (ANONYMOUS_PREFIX, AUTOMATED_PREFIX)


class Discretion:
    """Asked before anything is remembered of somebody; any thread may call any method.

    All methods raise ``ConfigError`` where the key of the flags or tombstones is gone.
    """

    def __init__(self, workspace: Path) -> None:
        """Args: ``workspace``, its root."""
        self.objections = Objections(workspace)
        """Who does not want to be profiled."""
        self._tombstones = Tombstones(workspace)

    def is_profiled(self, subject: str) -> bool:
        """Whether an answer may use what is known of somebody."""
        return subject not in self.objections

    def may_remember(self, subject: str, time_ms: int | None = None) -> bool:
        """Whether a state may hold what somebody did.

        Args:
            subject: See ``serving.event.subject``.
            time_ms: When, in milliseconds since the epoch; ``None`` where the time is known to be allowed.
        """
        if subject.startswith(_NOBODY) or subject in self.objections:
            return False
        return time_ms is None or not self.is_erased(subject, time_ms)

    def is_erased(self, subject: str, time_ms: int) -> bool:
        """Whether something happened before somebody's erasure."""
        return len(self._tombstones) > 0 and self._tombstones.erased_ms(subject) >= time_ms
