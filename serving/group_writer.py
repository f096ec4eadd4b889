"""A thread that writes, in groups, what is handed over to it, so that nobody waits for the writing.

Until a thing is written, it is read from memory. When nothing can be written, things wait; when too many do,
new ones are refused. A thing that can never be written is left out, and those beside it are not.
"""

import threading
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

MAX_GROUP = 1000
"""Most things that are written at once."""

_RETRY_SECONDS = 0.5

_log = structlog.get_logger(__name__)


class GroupWriter(Generic[T]):
    """Things by key, on their way to where they are kept; any thread may call any method."""

    def __init__(
        self,
        name: str,
        write: Callable[[Mapping[str, T]], None],
        passing: tuple[type[Exception], ...],
        *,
        group_seconds: float,
        max_waiting: int,
    ) -> None:
        """Begin to write what is handed over.

        Args:
            name: What the things are, for the log and the thread.
            write: Writes a group; may be given again what it wrote.
            passing: What ``write`` raises when it cannot write anything for now. Whatever else it raises is
                held to be the fault of a thing in the group.
            group_seconds: Longest that a thing waits for others before it is written with them.
            max_waiting: Most things in memory.
        """
        self._name, self._write, self._passing = name, write, passing
        self._group_seconds, self._max_waiting = group_seconds, max_waiting
        self._waiting: dict[str, T] = {}
        self._writing = threading.Lock()
        self._news, self._closed = threading.Event(), threading.Event()
        self._fails = False
        self.num_lost = 0
        """Things that were refused or left out since the start."""
        self._thread = threading.Thread(target=self._run, name=name.replace(" ", "-"), daemon=True)
        self._thread.start()

    def add(self, key: str, thing: T) -> bool:
        """Hand a thing over, and say whether it was taken; it never waits and never fails."""
        if len(self._waiting) >= self._max_waiting:
            if not self.num_lost:
                _log.warning("too much waits to be written, so what comes is lost", what=self._name)
            self.num_lost += 1
            return False
        self._waiting[key] = thing
        self._news.set()
        return True

    def get(self, key: str) -> T | None:
        """A thing that is not written yet."""
        return self._waiting.get(key)

    def drop(self, key: str) -> None:
        """Forget a thing that is not written yet."""
        self._waiting.pop(key, None)

    def flush(self) -> None:
        """Write what waits now; raises what passes."""
        with self._writing:
            while group := dict(islice(self._waiting.copy().items(), MAX_GROUP)):
                self._write_group(group)

    def close(self) -> None:
        """Write what waits and stop; what cannot be written is lost."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._news.set()
        self._thread.join()
        try:
            self.flush()
        except self._passing as error:
            self.num_lost += len(self._waiting)
            _log.warning("what waited is lost", what=self._name, reason=str(error), number=len(self._waiting))

    def _run(self) -> None:
        """Write groups until ``close``; the thread's whole life."""
        while True:
            self._news.wait()
            self._closed.wait(_RETRY_SECONDS if self._fails else self._group_seconds)
            if self._closed.is_set():
                return
            self._news.clear()
            try:
                self.flush()
                self._fails = False
            except self._passing as error:
                if not self._fails:
                    _log.warning("what is to be written waits", what=self._name, reason=str(error))
                self._fails = True
                self._news.set()

    def _write_group(self, group: Mapping[str, T]) -> None:
        """Write a group, by ever smaller parts when one of its things cannot be written."""
        try:
            self._write(group)
        except self._passing:
            raise
        except Exception:  # noqa: BLE001  # the thread must outlive a thing that cannot be written
            if len(group) > 1:
                for keys in _halves(list(group)):
                    self._write_group({key: group[key] for key in keys})
                return
            self.num_lost += 1
            _log.exception("what cannot be written is left out", what=self._name)
        for key in group:
            self._waiting.pop(key, None)


def _halves(keys: list[str]) -> tuple[list[str], list[str]]:
    middle = len(keys) // 2
    return keys[:middle], keys[middle:]
