"""How many calls a day may be made: a bucket that refills evenly over 24 hours."""

import time
from collections.abc import Callable
from typing import Final

from recsys.errors import BlurbError

_DAY_SECONDS: Final = 24 * 60 * 60


class Spending:
    """A full bucket at the start; each call takes one out."""

    def __init__(self, calls_per_day: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = calls_per_day, clock
        self._left = float(calls_per_day)
        self._seen = clock()

    def spend(self) -> None:
        """Take one call out.

        Raises:
            BlurbError: None is left.
        """
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._most / _DAY_SECONDS)
        self._seen = now
        if self._left < 1:
            raise BlurbError(
                f"the {self._most:,} calls a day are spent; the next one is free in "
                f"{(1 - self._left) * _DAY_SECONDS / self._most:.0f} s (blurbs.calls_per_day)"
            )
        self._left -= 1
