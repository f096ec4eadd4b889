"""After repeated failures, a backend is left alone for a while."""

import time
from typing import Final

from recsys.errors import BlurbError

_MOST_FAILURES: Final = 5
_PAUSE_SECONDS: Final = 30.0


class Outage:
    """Begins after ``_MOST_FAILURES`` failures in a row; then one call is let through now and again."""

    def __init__(self) -> None:
        self._num_failures = 0
        self._retry_at = 0.0

    def require_over(self) -> None:
        """Let a call through, or not.

        Raises:
            BlurbError: The backend keeps failing, and it is not time to try again.
        """
        if self._num_failures < _MOST_FAILURES:
            return
        now = time.monotonic()
        if now < self._retry_at:
            raise BlurbError(
                f"the language model's server failed {self._num_failures} times in a row; it is asked again "
                f"in {self._retry_at - now:.0f} s"
            )
        self._retry_at = now + _PAUSE_SECONDS

    def failed(self, now: float) -> None:
        """Count a failure at a time of the monotonic clock."""
        self._num_failures += 1
        if self._num_failures >= _MOST_FAILURES:
            self._retry_at = now + _PAUSE_SECONDS

    def succeeded(self) -> None:
        """The outage is over."""
        self._num_failures = 0
