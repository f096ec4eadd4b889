"""How many calls may be under way: a limit that follows from how long they stand in line.

When even the luckiest call of a while has waited for long, there is a standing queue, and the limit falls;
when the limit is what keeps calls out and there is no such queue, it rises.

Source: Nichols and Jacobson, Controlling Queue Delay, 2012.
"""

import time
from collections.abc import Callable
from typing import Final

from serving.priority import Priority

_WINDOW_SECONDS: Final = 0.1
_MIN_CALLS: Final = 4  # of a window that says something
_SHORTEST_QUEUE_SECONDS: Final = 0.02  # that is worth refusing calls for
_QUEUE_SHARE: Final = 3.0  # the same, in mean times that a call is worked on
_SHRINK: Final = 0.5  # at most, in one window
_FIRST: Final = 2  # calls per least one, at the start
_BASE_SHARE: Final = 0.2  # of a new call in the mean time that calls take


class Limit:
    """An adaptive limit on the calls under way; for one thread."""

    def __init__(self, least: int, most: int, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with what a server that has just started is good for.

        Args:
            least: Never fewer calls than this are let through, however slow they are: a frontend that has as
                many under way is nothing unusual, and each of them waits for those before it at most.
            most: Never more.
            now: A monotonic clock, seconds.
        """
        self._least, self._most, self._now = least, most, now
        self.value = float(min(_FIRST * least, most))
        """Calls that may be under way."""
        self.num_running = 0
        self.busy_seconds = 0.0
        """Mean time for which a call was worked on lately."""
        self._window_end = 0.0
        self._waits: list[float] = []
        self._lags: list[float] = []
        self._was_full = False

    def has_room(self, priority: Priority) -> bool:
        """Whether another call may come in; that there was none is noted."""
        if self.num_running < max(1.0, self.value * priority.value):
            return True
        self._was_full = self._was_full or priority is Priority.INTERACTIVE
        return False

    def enter(self, priority: Priority) -> bool:
        """Let a call through, or not; one that was let through ends with ``leave``."""
        if not self.has_room(priority):
            return False
        self.num_running += 1
        return True

    def leave(self, waited_seconds: float, busy_seconds: float) -> None:
        """A call has ended.

        Args:
            waited_seconds: How long it stood in line.
            busy_seconds: How long it was worked on; 0 for one that never was.
        """
        self.num_running -= 1
        if busy_seconds:
            share = _BASE_SHARE if self.busy_seconds else 1.0
            self.busy_seconds += share * (busy_seconds - self.busy_seconds)
            self._waits.append(waited_seconds)
        if (now := self._now()) >= self._window_end and len(self._waits) >= _MIN_CALLS:
            self._adapt()
            self._window_end = now + _WINDOW_SECONDS

    def note_lag(self, seconds: float) -> None:
        """How long the thread that lets calls through came to it too late."""
        self._lags.append(seconds)

    def _adapt(self) -> None:
        allowed = max(_SHORTEST_QUEUE_SECONDS, _QUEUE_SHARE * self.busy_seconds)
        queue = max(min(self._waits), min(self._lags, default=0.0))
        if queue > allowed:
            running = min(self.value, self.num_running + 1)
            self.value = max(self._least, running * max(_SHRINK, allowed / queue))
        elif self._was_full:
            self.value = min(self._most, self.value + 1)
        self._waits, self._lags, self._was_full = [], [], False
