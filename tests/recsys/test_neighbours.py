import numpy as np
import pytest
from scipy import sparse

from recsys.neighbours import Neighbours, NeighbourTable, basket_matrix, cosine_neighbours
from tests.recsys.small_catalogue import NOW

A, B, C, D = range(4)


def said_by(table: Neighbours, item: int) -> dict[int, float]:
    """What one item says, by the item spoken for."""
    entries = slice(table.starts[item], table.starts[item + 1])
    return dict(zip(table.targets[entries].tolist(), table.weights[entries].tolist(), strict=True))


def collected(*rows: tuple[int, list[int], list[float]], num_neighbours: int = 3) -> Neighbours:
    """A table of rows (target, sources, strengths)."""
    table = NeighbourTable(4, num_neighbours)
    for target, sources, strength in rows:
        table.put(target, np.asarray(sources), np.asarray(strength, np.float32))
    return table.finish(NOW)


def test_a_row_per_source_lists_the_items_it_speaks_for() -> None:
    table = collected((B, [A, D], [0.5, 0.25]), (A, [D], [0.75]))
    assert said_by(table, A) == {B: 0.5}
    assert said_by(table, D) == {A: 0.75, B: 0.25}
    assert said_by(table, B) == said_by(table, C) == {}
    assert table.fitted_until_ms == NOW


def test_each_item_keeps_its_own_strongest_sources() -> None:
    everybody = [A, B, C, D]
    strength = {A: [0, 0.5, 0.25, 0.75], B: [0.9, 0, 0.8, 0.7]}
    rows = [(target, everybody, strength[target]) for target in (A, B)]
    table = collected(*rows, num_neighbours=2)
    assert {source for source in everybody if A in said_by(table, source)} == {B, D}
    assert {source for source in everybody if B in said_by(table, source)} == {A, C}
    assert [table.num_sources(item) for item in everybody] == [2, 2, 0, 0]


def test_equally_strong_sources_are_kept_in_the_order_given() -> None:
    table = collected((A, [D, C, B], [0.5, 0.5, 0.5]), num_neighbours=2)
    assert [said_by(table, item) for item in (B, C, D)] == [{}, {A: 0.5}, {A: 0.5}]


def test_what_is_not_above_zero_says_nothing() -> None:
    assert said_by(collected((A, [B, C, D], [0, -1, 0.25])), B) == {}
    assert len(collected((A, [B, C], [0, -1])).weights) == 0


def test_scores_add_up_over_the_given_items() -> None:
    table = collected((B, [A, C], [0.5, 0.125]), (C, [A], [0.25]))
    found = table.scores(np.asarray([A, C]), np.asarray([2.0, 4.0])).dense()
    assert found.dtype == np.float64
    assert found.tolist() == [0, 2 * 0.5 + 4 * 0.125, 2 * 0.25, 0]
    assert table.scores(np.asarray([D]), np.asarray([9.0])).dense().tolist() == [0, 0, 0, 0]


def test_no_items_and_an_empty_table_score_nothing() -> None:
    nothing = np.empty(0, np.int64)
    assert collected((B, [A], [0.5])).scores(nothing, np.empty(0)).dense().tolist() == [0, 0, 0, 0]
    empty = NeighbourTable(4, 3).finish(NOW)
    assert empty.scores(np.asarray([A, D]), np.ones(2)).dense().tolist() == [0, 0, 0, 0]
    assert [str(array.dtype) for array in (empty.weights, empty.targets)] == ["float32", "int32"]


def test_a_basket_matrix_has_a_one_per_basket_and_item() -> None:
    matrix = basket_matrix(np.asarray([0, 0, 2]), np.asarray([1, 0, 1]), 3)
    assert matrix.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert basket_matrix(np.empty(0, np.int64), np.empty(0, np.int64), 2).shape == (0, 2)


def test_the_cosine_is_of_what_comes_before_and_what_after() -> None:
    before = sparse.csr_array(np.asarray([[1, 0], [1, 1], [1, 0], [1, 0]], np.float32))
    after = sparse.csr_array(np.asarray([[1, 0.5], [0, 0], [0, 0.5], [0, 0]], np.float32))
    table = NeighbourTable(4, 3)
    cosine_neighbours(before, after, np.asarray([B, D]), 2.0, table)
    found = table.finish(NOW)
    # b comes before four times, d after once in all; they meet with 0.5 + 0.5
    assert said_by(found, B) == pytest.approx({D: 1 / (np.sqrt(4 * 1) + 2)})
    assert said_by(found, D) == {}  # nothing comes after it, and nobody speaks for oneself


def test_many_items_go_through_in_blocks() -> None:
    num_items = 2_050  # more than one block
    pairs = np.repeat(np.arange(num_items // 2), 2)
    matrix = basket_matrix(pairs, np.arange(num_items), num_items)
    table = NeighbourTable(num_items, 1)
    cosine_neighbours(matrix, matrix, np.arange(num_items), 0.0, table)
    found = table.finish(NOW)
    assert found.targets.tolist() == (np.arange(num_items) ^ 1).tolist()
    assert set(found.weights.tolist()) == {1.0}
