"""Work on threads: in order, few at a time, and never more than one thread in a library."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from training.threads import in_threads


def test_results_come_in_the_order_of_the_inputs() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(in_threads(slow_first, range(20))) == [number * number for number in range(20)]


def test_few_inputs_are_read_ahead() -> None:
    read = 0

    def inputs() -> Iterator[int]:
        nonlocal read
        for number in range(1000):
            read = number + 1
            yield number

    results = in_threads(str, inputs())
    assert next(results) == "0"
    assert read <= 9
    results.close()  # type: ignore[attr-defined]


def test_an_error_reaches_the_caller() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("the third")
        return number

    with pytest.raises(ValueError, match="the third"):
        list(in_threads(fail, range(10)))
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_libraries_have_one_thread_each_and_get_theirs_back() -> None:
    before = torch.get_num_threads()
    assert set(in_threads(lambda _: torch.get_num_threads(), range(4))) == {1}
    assert torch.get_num_threads() == before
    np.testing.assert_allclose(next(in_threads(lambda _: np.ones((3, 3)) @ np.ones(3), [0])), [3, 3, 3])
