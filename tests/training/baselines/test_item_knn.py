import numpy as np
import polars as pl

from tests.training.baselines.small_log import items_of, log_of
from training.baselines.item_knn import ItemKnn, later_steps, steps


def test_cosine_counts_the_users_who_had_both() -> None:
    log = log_of(("a", "x", 7), ("a", "y", 7), ("b", "x", 7), ("c", "x", 7), ("c", "z", 7))
    fitted = ItemKnn("cosine", decay_per_week=0.5).fit(log)
    # b had x once, a week ago: y and z each share one user with x, of 3 and 1
    shared = float(0.5 / np.sqrt(3))
    np.testing.assert_allclose(fitted.score(np.array([1])).core, [[0, shared, shared]], rtol=1e-5)
    with_self = ItemKnn("cosine", decay_per_week=0.5, keep_self=True).fit(log)
    np.testing.assert_allclose(with_self.score(np.array([1])).core[0, 0], 0.5, rtol=1e-5)


def test_a_step_is_all_of_one_moment_and_later_steps_fade() -> None:
    log = log_of(("a", "x", 9), ("a", "y", 9), ("a", "y", 6), ("a", "z", 3), ("b", "x", 5))
    held, users = steps(log)
    assert held.toarray().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert users.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(
        later_steps(log).toarray(),
        np.asarray([[0.0, 1.0, 0.7], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        rtol=1e-6,
    )


def test_transitions_know_what_comes_after_what() -> None:
    log = log_of(("a", "x", 9), ("a", "y", 6), ("b", "x", 9), ("b", "z", 12), ("c", "x", 2), ("d", "y", 2))
    fitted = ItemKnn("transitions").fit(log)
    # x is in 3 steps and y in 2; y came a step after x once, and z never did
    np.testing.assert_allclose(fitted.score(np.array([2])).core, [[0, 1 / np.sqrt(6), 0]], rtol=1e-5)
    assert items_of(fitted.lists(pl.Series(["d"]), 1, novel=True), "d") == [
        "x"
    ]  # the most popular: y leads nowhere


def test_the_last_steps_weigh_most() -> None:
    after = [("a", "x", 30.0), ("a", "p", 29.0), ("b", "y", 30.0), ("b", "q", 29.0)]
    log = log_of(*after, ("c", "x", 3), ("c", "y", 2))
    scores = ItemKnn("transitions").fit(log).score(np.array([2])).core[0]
    by_item = dict(zip(log.items, scores, strict=True))
    assert by_item["p"] / by_item["q"] == np.float32(0.7)


def test_only_the_nearest_neighbours_are_kept() -> None:
    events = [(f"u{n}", "x", 1.0) for n in range(4)] + [(f"u{n}", "near", 1.0) for n in range(3)]
    log = log_of(*events, ("u0", "far", 1))
    fitted = ItemKnn("cosine", num_neighbours=1, decay_per_week=1.0).fit(log)
    scores = dict(zip(log.items, fitted.score(log.rows_of(["u3"])).core[0], strict=True))
    assert scores["far"] == 0
    assert scores["near"] > 0
