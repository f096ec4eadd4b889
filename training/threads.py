"""Work on many moments at once: on threads, because the arrays they share are too large to copy."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

_MOST = 4
"""More would wait for the interpreter: about half of the work on a moment holds its lock."""

In = TypeVar("In")
Out = TypeVar("Out")


def in_threads(function: Callable[[In], Out], inputs: Iterable[In]) -> Iterator[Out]:
    """Results in the order of the inputs; few inputs and results are held at a time.

    The numerical libraries have one thread in each of ours, where they would only wait for each other.

    Args:
        function: Called on any thread; what it shares with other calls it must not write to.
        inputs: Read on the calling thread.
    """
    num_threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, _MOST)
    waiting: deque[Future[Out]] = deque()
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(num_threads, initializer=threadpool_limits, initargs=(1, "openmp")) as pool,
    ):
        for one in inputs:
            waiting.append(pool.submit(function, one))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
