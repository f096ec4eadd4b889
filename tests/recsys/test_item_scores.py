import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.item_scores import ItemScores, strongest

SCORES = ItemScores(np.asarray([1, 3, 4]), np.asarray([0.5, 2.0, 0.5]), 6)


def test_items_that_are_not_named_score_0() -> None:
    assert SCORES.at(np.asarray([[0, 1], [3, 5]])).tolist() == [[0, 0.5], [2, 0]]
    assert SCORES.dense().tolist() == [0, 0.5, 0, 2, 0.5, 0]


def test_one_look_up_leaves_nothing_behind_for_the_next() -> None:
    other = ItemScores(np.asarray([0]), np.asarray([9.0]), 6)
    assert other.at(np.arange(6)).tolist() == [9, 0, 0, 0, 0, 0]
    assert SCORES.dense().tolist() == [0, 0.5, 0, 2, 0.5, 0]
    assert ItemScores(np.asarray([1]), np.ones(1), 2).dense().tolist() == [0, 1]  # another catalogue


def test_the_strongest_come_first_ties_by_position_and_some_are_left_out() -> None:
    assert SCORES.strongest(5).tolist() == [3, 1, 4]
    assert SCORES.strongest(2).tolist() == [3, 1]
    assert SCORES.strongest(5, np.asarray([0, 3, 5])).tolist() == [1, 4]
    assert SCORES.values.tolist() == [0.5, 2, 0.5]


def test_nothing_named_has_no_strongest_and_no_greatest() -> None:
    nothing = ItemScores(np.empty(0, np.int64), np.empty(0), 3)
    assert nothing.strongest(4, np.asarray([1])).tolist() == []
    assert nothing.greatest() == 0
    assert nothing.dense().tolist() == [0, 0, 0]


@given(st.lists(st.integers(-2, 4), max_size=12), st.integers(0, 14))
def test_strongest_is_a_stable_sort_cut_off(scores: list[int], limit: int) -> None:
    expected = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: -scores[row])
    assert strongest(np.asarray(scores, np.float64), limit).tolist() == expected[:limit]
