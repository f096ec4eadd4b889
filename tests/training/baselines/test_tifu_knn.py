import numpy as np
import polars as pl
import pytest

from tests.training.baselines.small_log import items_of, log_of
from training.baselines.tifu_knn import TifuKnn

# at a decay of 0.5: a = (1/2, 1/4, 0, 0), b = (1/2, 0, 1/2, 0), c = (0, 0, 0, 1/2)
EVENTS = (("a", "w", 7), ("a", "x", 14), ("b", "w", 7), ("b", "y", 7), ("c", "z", 7))


def test_scores_blend_the_own_frequencies_with_the_nearest_users() -> None:
    log = log_of(*EVENTS)
    fitted = TifuKnn(decay_per_week=0.5, num_neighbours=1, alpha=0.7).fit(log)
    scores = fitted.score(np.arange(3)).core
    # a's nearest is b and the other way round; c is as far from both, and a comes first
    expected = [
        [0.7 / 2 + 0.3 / 2, 0.7 / 4, 0.3 / 2, 0],
        [0.7 / 2 + 0.3 / 2, 0.3 / 4, 0.7 / 2, 0],
        [0.3 / 2, 0.3 / 4, 0, 0.7 / 2],
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_more_neighbours_than_users_are_all_users() -> None:
    fitted = TifuKnn(decay_per_week=0.5, num_neighbours=300, alpha=0.0).fit(log_of(*EVENTS))
    np.testing.assert_allclose(fitted.score(np.array([0])).core, [[1 / 4, 0, 1 / 4, 1 / 4]], rtol=1e-5)


def test_novel_lists_are_what_the_neighbours_have() -> None:
    found = TifuKnn(decay_per_week=0.5, num_neighbours=1).fit(log_of(*EVENTS)).lists
    assert items_of(found(pl.Series(["a"]), 1, novel=True), "a") == ["y"]
    assert items_of(found(pl.Series(["a"]), 2), "a") == ["w", "x"]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_single_user_has_no_neighbours(alpha: float) -> None:
    found = TifuKnn(alpha=alpha).fit(log_of(("a", "x", 1))).lists(pl.Series(["a"]))
    assert items_of(found, "a") == ["x"]
