"""A circuit breaker: after repeated failures, callers stop waiting for what does not answer."""

import time

_MAX_FAILURES = 5
_OPEN_SECONDS = 1.0


class Breaker:
    """Opens after ``_MAX_FAILURES`` failures in a row; then lets one call through per ``_OPEN_SECONDS``."""

    def __init__(self) -> None:
        self._num_failures = 0
        self._retry_at = 0.0

    @property
    def has_opened(self) -> bool:
        """Whether it has opened and nothing has succeeded since; asking changes nothing."""
        return self._num_failures >= _MAX_FAILURES

    def is_open(self) -> bool:
        """Whether to go without; a call that is let through while open is the one that tries again."""
        if self._num_failures < _MAX_FAILURES:
            return False
        now = time.monotonic()
        if now < self._retry_at:
            return True
        self._retry_at = now + _OPEN_SECONDS
        return False

    def failed(self) -> bool:
        """Count a failure; whether it is the one that opens the breaker."""
        self._num_failures += 1
        if self._num_failures == _MAX_FAILURES:
            self._retry_at = time.monotonic() + _OPEN_SECONDS
        return self._num_failures == _MAX_FAILURES

    def succeeded(self) -> None:
        """Close it."""
        self._num_failures = 0
