"""The threads that rank: what a shopper waits for comes before what is fetched ahead, batches come last.

Of what is equally urgent, the first to come is the first to be served.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from heapq import heappop, heappush
from itertools import count
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from serving.priority import current_priority
from serving.threads import one_thread

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Waiting = tuple[float, int, "Future[Any]", Callable[[], Any]]


class RankingThreads(Executor):
    """Runs what is submitted by the priority of the call that submits it; of the same priority, in order."""

    def __init__(self, num_threads: int) -> None:
        self._threads = ThreadPoolExecutor(num_threads, "ranking", initializer=one_thread)
        self._lock = Lock()
        self._waiting: list[_Waiting] = []
        self._numbers = count()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Run a function on one of the threads.

        Raises:
            RuntimeError: The threads were shut down.
        """
        future: Future[_T] = Future()
        with self._lock:
            rank = -current_priority.get().value
            waiting: _Waiting = (rank, next(self._numbers), future, partial(fn, *args, **kwargs))
            heappush(self._waiting, waiting)
            self._threads.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        with self._lock:
            *_, future, work = heappop(self._waiting)
        if not future.set_running_or_notify_cancel():
            return  # whoever asked has given up
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever waits for the result
            future.set_exception(error)
        else:
            future.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # as inherited
        """Take nothing more, and end when the rest is done, or cancelled."""
        if cancel_futures:
            with self._lock:
                for *_, future, _work in self._waiting:
                    future.cancel()
        self._threads.shutdown(wait)
