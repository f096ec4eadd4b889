"""The thread that commits batches of events: one commit, one fsync, for all that wait at the time."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from recsys.errors import IntakeError
from serving.buffer_records import Numbered

Sequences: TypeAlias = list[int | None]
"""One entry per record of a batch, see ``EventIntake.append``."""

_MAX_GROUP = 256  # batches in one commit
_Batch: TypeAlias = tuple[Numbered, Future[Sequences]]


class GroupCommit:
    """Batches on their way to the disk; any thread may call any method."""

    def __init__(self, commit: Callable[[Sequence[Numbered]], list[Sequences]]) -> None:
        """Begin to commit what is handed in.

        Args:
            commit: Commits batches together, or none of them. Where it raises ``IntakeError``, that is no
                batch's fault; after anything else each is tried by itself.
        """
        self._commit = commit
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="event-buffer", daemon=True)
        self._thread.start()

    def add(self, records: Numbered) -> Future[Sequences]:
        """Hand a batch in; the future ends when it is on disk, and raises what ``commit`` did."""
        future: Future[Sequences] = Future()
        future.set_running_or_notify_cancel()  # a caller that gives up cannot take its events back
        if self._closed:
            future.set_exception(IntakeError("the event buffer is closed; the server is stopping"))
        else:
            self._queue.put((records, future))
        return future

    def close(self) -> None:
        """Finish what was handed in and refuse the rest."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        """Commit batches in groups until ``close``; the thread's whole life."""
        open_ = True
        while open_:
            group = [self._queue.get()]
            while not self._queue.empty() and len(group) < _MAX_GROUP:
                group.append(self._queue.get())
            open_ = None not in group
            self._commit_all([batch for batch in group if batch is not None])

    def _commit_all(self, batches: Sequence[_Batch]) -> None:
        """Commit batches together, or each by itself when one of them cannot be stored."""
        try:
            results = self._commit([records for records, _ in batches])
        except Exception as error:  # noqa: BLE001  # the thread must outlive what cannot be stored
            if len(batches) > 1 and not isinstance(error, IntakeError):
                for batch in batches:
                    self._commit_all([batch])
                return
            for _, future in batches:
                future.set_exception(error)
        else:
            for (_, future), result in zip(batches, results, strict=True):
                future.set_result(result)
