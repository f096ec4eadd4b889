import numpy as np
import pytest

from recsys.diversity import diversified

RELEVANCE = np.asarray([1.0, 0.9, 0.5, 0.4])
VECTORS = np.asarray([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], np.float32)


def test_the_choice_is_maximal_marginal_relevance() -> None:
    # by hand, at level .5: first item 0 with .5;
    # then item 1 has .45 - .5 * 1, item 2 .25 - 0, item 3 .2 - .5 * .6
    assert diversified(RELEVANCE, VECTORS, 0.5, 2).tolist() == [0, 2]
    # then item 1 has .45 - .5, item 3 .2 - .5 * max(.6, .8)
    assert diversified(RELEVANCE, VECTORS, 0.5, 4).tolist() == [0, 2, 1, 3]


def test_level_0_keeps_the_order() -> None:
    assert diversified(RELEVANCE, VECTORS, 0.0, 4).tolist() == [0, 1, 2, 3]


def test_level_1_looks_at_unlikeness_alone() -> None:
    assert diversified(RELEVANCE, VECTORS, 1.0, 3).tolist() == [0, 2, 3]


def test_vectors_that_point_apart_are_no_nearer_than_none() -> None:
    apart = np.asarray([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], np.float32)
    assert diversified(np.asarray([1.0, 0.1, 0.2]), apart, 0.9, 2).tolist() == [0, 1]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_shorter_choice_is_the_start_of_a_longer_one(limit: int) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(30, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    relevance = np.sort(random.random(30))[::-1].copy()
    whole = diversified(relevance, vectors, 0.4, 30)
    assert sorted(whole.tolist()) == list(range(30))
    assert diversified(relevance, vectors, 0.4, limit).tolist() == whole[:limit].tolist()
