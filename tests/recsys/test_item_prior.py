import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex
from recsys.item_prior import ItemPrior, borrowed
from recsys.schema import ITEM_ID, TITLE
from tests.recsys.small_catalogue import items_frame

CATALOGUE = Catalogue(items_frame(*({ITEM_ID: word, TITLE: word} for word in ("a", "b", "c", "d"))))


def prior_of(vectors: list[list[int]], weights: list[float]) -> ItemPrior:
    """What item ``d`` borrows from ``a`` and ``b``; vectors are of ``a`` to ``d`` and have the mean 0."""
    index = VectorIndex(np.asarray(vectors, np.int8), CATALOGUE)
    neighbours = np.tile(np.asarray([0, 1], np.int32), (4, 1))
    kernel = np.tile(np.asarray(weights, np.float32), (4, 1))
    return borrowed(index, neighbours, kernel, CATALOGUE, np.asarray([3]))


def test_an_item_borrows_half_of_the_weighted_mean_times_the_mean_cosine() -> None:
    # d = (100, 0): its cosine with a = (60, 80) is 0.6, with b = (-80, -60) it is -0.8
    prior = prior_of([[60, 80], [-80, -60], [-80, -20], [100, 0]], [0.9, 0.1])
    mean_cosine = 0.9 * 0.6 + 0.1 * -0.8
    expected = 0.5 * mean_cosine * (0.9 * 10 + 0.1 * 20)
    assert prior.of(np.asarray([10.0, 20.0, 99.0, 99.0])) == pytest.approx([expected], rel=1e-5)
    assert expected == pytest.approx(2.53)


def test_a_twin_borrows_half_and_never_more() -> None:
    prior = prior_of([[100, 0], [100, 0], [-127, 0], [-73, 0]], [0.5, 0.5])
    assert prior.of(np.asarray([8.0, 8.0, 0.0, 0.0])) == pytest.approx([0.0])
    prior = prior_of([[50, 0], [50, 0], [-127, 0], [27, 0]], [0.5, 0.5])
    assert prior.of(np.asarray([8.0, 8.0, 0.0, 0.0])) == pytest.approx([4.0])


def test_what_is_negative_is_not_borrowed() -> None:
    prior = prior_of([[50, 0], [50, 0], [-127, 0], [27, 0]], [0.5, 0.5])
    assert prior.of(np.asarray([-8.0, 8.0, 0.0, 0.0])) == pytest.approx([2.0])


def test_without_known_items_there_is_nothing_to_borrow() -> None:
    index = VectorIndex(np.asarray([[1, 0], [0, 1], [-1, 0], [0, -1]], np.int8), CATALOGUE)
    nobody = np.empty((4, 0))
    prior = borrowed(index, nobody.astype(np.int32), nobody.astype(np.float32), CATALOGUE, np.asarray([2, 3]))
    assert prior.of(np.ones(4)).tolist() == [0.0, 0.0]
    assert prior.extend(np.ones(2, np.float32)).tolist() == [1.0, 1.0, 0.0, 0.0]
