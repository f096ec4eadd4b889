import numpy as np

from recsys.ranges import rows_of


def test_the_rows_of_ranges_follow_one_another() -> None:
    assert rows_of(np.asarray([5, 0, 9]), np.asarray([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


def test_no_ranges_have_no_rows() -> None:
    assert rows_of(np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == []
