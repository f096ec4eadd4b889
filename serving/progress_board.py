"""How far each worker process is, in memory that all of them see.

Nothing needs a lock: a worker writes its own row, and the supervisor clears the row of one that died.
``settled`` is what makes it safe to move events out of the buffer while several processes read it.
"""

import mmap
import sys

import numpy as np

_APPLIED, _COUNTED, _STAGE = range(3)
_LOADS = 2  # after the two numbers of the clock
ABSENT = sys.maxsize
"""Counted by a worker that is not there: it holds nobody up."""
PREPARED, LOADED, READY = 1, 2, 3
"""Stages of a worker: the log is settled, the store is loaded, it serves."""


class ProgressBoard:
    """One row per worker; made before the processes part."""

    def __init__(self, num_workers: int = 1) -> None:
        shared = mmap.mmap(-1, 8 * 3 * num_workers)
        self._rows = np.frombuffer(shared, np.int64).reshape(num_workers, 3)
        self._clock = np.frombuffer(mmap.mmap(-1, 24), np.int64)
        self._rows[:, _COUNTED] = ABSENT

    @property
    def applied(self) -> int:
        """Sequence number up to which some worker has brought the store up to date."""
        return int(self._rows[:, _APPLIED].max())

    @property
    def settled(self) -> int:
        """Sequence number up to which the store is up to date and every worker has counted."""
        return min(self.applied, int(self._rows[:, _COUNTED].min()))

    @property
    def nobody_counts(self) -> bool:
        """Whether no worker has begun to count, so that the whole buffer may be moved."""
        return bool((self._rows[:, _COUNTED] == ABSENT).all())

    def report(self, worker: int, *, applied: int, counted: int) -> None:
        """Say how far a worker is."""
        self._rows[worker, _APPLIED] = applied
        self._rows[worker, _COUNTED] = counted

    def reach(self, worker: int, stage: int) -> None:
        """Say that a worker has reached a stage."""
        self._rows[worker, _STAGE] = stage

    def stage(self, worker: int) -> int:
        """The last stage that a worker reached, 0 before the first."""
        return int(self._rows[worker, _STAGE])

    def clear(self, worker: int) -> None:
        """Forget a worker that died; what it applied stays applied."""
        self._rows[worker, _COUNTED] = ABSENT
        self._rows[worker, _STAGE] = 0

    def forget_applied(self) -> None:
        """Say that the store was loaded anew, so that everything in the buffer is to be applied."""
        self._clock[_LOADS] += 1
        self._rows[:, _APPLIED] = 0

    @property
    def num_loads(self) -> int:
        """How often the store was loaded anew; what a worker applied before does not count after."""
        return int(self._clock[_LOADS])

    def start_clock(self, log_end_ms: int, started_ns: int) -> tuple[int, int]:
        """Where the clock of a replay began, the same for all workers: that of the first one to ask.

        Args:
            log_end_ms: The end of the log, milliseconds since the epoch.
            started_ns: Now, on the machine's monotonic clock, nanoseconds.

        Returns:
            The same two numbers, of the first call.
        """
        if not self._clock[1]:
            self._clock[:2] = log_end_ms, started_ns
        return int(self._clock[0]), int(self._clock[1])
