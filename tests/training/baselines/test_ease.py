import numpy as np
import polars as pl
import pytest
from scipy import sparse

from tests.training.baselines.small_log import items_of, log_of
from training.baselines.ease import Ease, fit_ease

RIDGE = 2.0


def some_matrix(users: int, items: int) -> np.ndarray:
    random = np.random.default_rng(7)
    return ((random.random((users, items)) < 0.4) * random.random((users, items))).astype(np.float32)


def by_ridge_regression(matrix: np.ndarray) -> np.ndarray:
    """Each item explained by all others: the same minimum, found column by column."""
    weights = np.zeros((matrix.shape[1], matrix.shape[1]))
    for item in range(matrix.shape[1]):
        others = np.delete(matrix, item, axis=1).astype(np.float64)
        solved = np.linalg.solve(
            others.T @ others + RIDGE * np.eye(others.shape[1]), others.T @ matrix[:, item]
        )
        weights[:, item] = np.insert(solved, item, 0.0)
    return weights


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)], ids=["more users", "more items"])
def test_the_closed_form_is_ridge_regression_of_each_item_on_the_others(shape: tuple[int, int]) -> None:
    matrix = some_matrix(*shape)
    model = fit_ease(sparse.csr_array(matrix), RIDGE)
    expected = matrix @ by_ridge_regression(matrix)
    np.testing.assert_allclose(model.scores(np.arange(shape[0])), expected, atol=1e-5)
    np.testing.assert_allclose(model.scores(np.array([2, 5])), expected[[2, 5]], atol=1e-5)


def test_an_item_never_explains_itself() -> None:
    # nobody had both: all that could speak for the own item is the item itself
    model = fit_ease(sparse.csr_array(np.eye(2, 4, dtype=np.float32)), RIDGE)
    np.testing.assert_allclose(model.scores(np.arange(2)), 0, atol=1e-6)


C = pl.Series(["c"])
TOGETHER = (("a", "x", 1), ("a", "y", 1), ("b", "x", 1), ("b", "y", 1), ("c", "x", 1), ("d", "z", 1))


def test_what_goes_together_is_found_and_filled_up_with_popular_items() -> None:
    found = Ease(ridge=1.0).fit(log_of(*TOGETHER)).lists
    assert items_of(found(C, novel=True), "c") == ["y", "z"]


def test_own_frequencies_bring_own_items_to_the_front() -> None:
    pairs = [(f"u{n}", item, 1.0) for n in range(8) for item in ("x", "y")]
    log = log_of(*pairs, ("c", "x", 9), ("c", "z", 1), ("c", "z", 2), ("c", "z", 3))
    assert items_of(Ease(ridge=1.0).fit(log).lists(C), "c")[0] != "z"
    assert items_of(Ease(ridge=1.0, own_weight=9.0).fit(log).lists(C), "c") == ["z", "x", "y"]


def test_recent_popularity_decides_between_what_ease_likes_equally() -> None:
    # x goes with y and with z alike; lately only z is bought
    bought = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"), ("c", "x"), ("e", "y")]
    log = log_of(*((user, item, 99) for user, item in bought), ("d", "z", 1))
    plain, recent = (Ease(ridge=1.0, popularity_power=power).fit(log) for power in (0.0, 0.5))
    y, z = (log.items.index(item) for item in "yz")
    scores = plain.score(log.rows_of(["c"])).core[0]
    assert scores[y] == pytest.approx(scores[z])
    assert items_of(recent.lists(C, novel=True), "c") == ["z"]
