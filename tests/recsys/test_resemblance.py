import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex, quantise
from recsys.item_history import ItemHistory
from recsys.item_scores import ItemScores
from recsys.resemblance import Resemblance, fit_resemblance
from recsys.schema import ITEM_ID, TITLE
from tests.recsys.small_catalogue import items_frame

CATALOGUE = Catalogue(items_frame(*({ITEM_ID: name, TITLE: name} for name in ("a", "b", "c", "d", "e"))))
"""Two that point up, two that point right, one in between."""
WORDS = np.asarray([[0.0, 1.0], [0.1, 0.995], [1.0, 0.0], [0.995, 0.1], [0.707, 0.707]])


def told(users: list[float]) -> ItemHistory:
    nothing = np.zeros((1, len(users)), np.float32)
    return ItemHistory(
        adoption=nothing,
        newcomers=nothing,
        users=np.asarray(users, np.float32),
        first_ms=np.zeros(len(users), np.int64),
        rebuy_rate=nothing[0],
        gap_days=nothing[0],
        price=nothing[0],
        recent_price=nothing[0],
        fitted_until_ms=7,
    )


def fit(users: list[float]) -> Resemblance:
    return fit_resemblance(VectorIndex(quantise(WORDS), CATALOGUE), CATALOGUE, told(users))


def test_an_unknown_item_takes_after_the_nearest_known_one() -> None:
    table = fit([3, 0, 3, 2, 0])
    assert table.unknown.tolist() == [1, 3, 4]
    first = ItemScores(np.asarray([0]), np.ones(1), 5)
    up, right, between = table.of_unknown((first,)).values
    assert up > 0.9
    assert right < 0.1
    assert right < between < up
    assert table.fitted_until_ms == 7


def test_neighbours_weigh_by_the_exponential_of_their_cosine() -> None:
    table = fit([3, 0, 3, 0, 0])
    centred = VectorIndex(quantise(WORDS), CATALOGUE).centred(np.arange(5)).astype(float)
    odds = np.exp(8 * (centred[[0, 2]] @ centred[1]))
    expected = odds[0] / odds.sum()
    alike = table.of_items(np.asarray([1]))
    assert alike.mean(np.asarray([1.0, 0, 0, 0, 0]).take)[0] == pytest.approx(expected, rel=1e-6)
    assert alike.mean(np.asarray([0, 0, 2.0, 0, 0]).take)[0] == pytest.approx(2 * (1 - expected), rel=1e-6)


def test_a_known_item_is_no_neighbour_of_its_own() -> None:
    table = fit([3, 3, 3, 3, 3])
    first = np.asarray([1.0, 0, 0, 0, 0])
    assert table.of_items(np.asarray([0])).mean(first.take).tolist() == [0.0]
    assert table.of_items(np.asarray([1])).mean(first.take)[0] > 0.4
    assert not table.unknown.size


def test_where_nothing_is_known_every_average_is_zero() -> None:
    table = fit([0, 1, 2, 0, 0])
    assert table.of_items(np.arange(5)).mean(np.ones(5).take).tolist() == [0.0] * 5
    everything = ItemScores(np.arange(5), np.ones(5), 5)
    assert table.of_unknown((everything,)).dense().tolist() == [0.0] * 5


def test_of_equal_texts_one_unknown_item_stands_for_all() -> None:
    twins = Catalogue(items_frame(*({ITEM_ID: str(i), TITLE: "twin"} for i in range(5))))
    words = VectorIndex(quantise(WORDS[:1]), twins)
    assert fit_resemblance(words, twins, told([3, 0, 0, 0, 0])).unknown.tolist() == [1]
    assert fit([3, 0, 0, 0, 0]).unknown.tolist() == [1, 2, 3, 4]
