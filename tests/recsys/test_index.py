from pathlib import Path

import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.index import VectorIndex, dequantise, quantise
from recsys.schema import ITEM_ID, TITLE
from tests.recsys.small_catalogue import items_frame

DIMENSION = 8
EAST, NORTH = np.eye(DIMENSION, dtype=np.float32)[:2]


def compass(*titles: str) -> Catalogue:
    """Items a, b, c, ... with these titles; texts are sorted by title."""
    return Catalogue(
        items_frame(*({ITEM_ID: chr(ord("a") + i), TITLE: title} for i, title in enumerate(titles)))
    )


def turned(degrees: float) -> np.ndarray:
    """A unit vector between east (0) and north (90)."""
    angle = np.deg2rad(degrees)
    return np.asarray(np.cos(angle) * EAST + np.sin(angle) * NORTH, np.float32)


def test_quantising_keeps_one_and_zero_exactly_and_the_rest_to_half_a_step() -> None:
    assert quantise(np.asarray([[1.0, 0.0, -1.0, 0.5]])).tolist() == [[127, 0, -127, 64]]
    vectors = np.random.default_rng(0).uniform(-1, 1, (50, 8))
    assert np.abs(dequantise(quantise(vectors)) - vectors).max() <= 0.5 / 127 + 1e-7


def test_items_come_nearest_first() -> None:
    catalogue = compass("0", "1", "2", "3")  # texts in the order of the items
    index = VectorIndex(quantise(np.stack([turned(d) for d in (80, 10, 50, 30)])), catalogue)
    found = index.nearest_items(EAST, 10, np.ones(4))
    assert [catalogue.item_ids[i] for i in found] == ["b", "d", "c", "a"]
    assert index.nearest_items(EAST, 2, np.ones(4)).tolist() == found[:2].tolist()


def test_the_search_is_exact() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(200, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[7].astype(np.float32)
    catalogue = Catalogue(items_frame(*({ITEM_ID: f"{i:03}", TITLE: f"{i:03}"} for i in range(200))))
    stored = quantise(vectors)
    products = stored.astype(np.int64) @ np.rint(query * 127).astype(np.int64)
    found = VectorIndex(stored, catalogue).nearest_items(query, 20, np.ones(200))
    assert found[0] == 7
    assert products[found].tolist() == sorted(products.tolist(), reverse=True)[:20]


def test_items_with_equal_texts_come_most_popular_first() -> None:
    catalogue = compass("near", "near", "near", "far")
    vectors = quantise(np.stack([turned(90), turned(0)]))  # texts sorted: far, near
    found = VectorIndex(vectors, catalogue).nearest_items(EAST, 10, np.asarray([1.0, 3.0, 1.0, 9.0]))
    assert [catalogue.item_ids[i] for i in found] == ["b", "a", "c", "d"]


def test_of_items_that_nobody_wants_a_text_offers_one() -> None:
    catalogue = compass("near", "near", "near", "far")
    index = VectorIndex(quantise(np.stack([turned(90), turned(0)])), catalogue)
    found = index.nearest_items(EAST, 10, np.asarray([0.0, 0.0, 0.0, 0.0]))
    assert [catalogue.item_ids[i] for i in found] == ["a", "d"]
    found = index.nearest_items(EAST, 10, np.asarray([0.0, 2.0, 0.0, 0.0]))
    assert [catalogue.item_ids[i] for i in found] == ["b", "d"]


def test_items_have_the_vector_of_their_text() -> None:
    catalogue = compass("north", "east", "north")
    index = VectorIndex(quantise(np.stack([EAST, NORTH])), catalogue)
    assert index.of_items(np.asarray([0, 1, 2])).tolist() == [NORTH.tolist(), EAST.tolist(), NORTH.tolist()]
    assert index.of_items(np.empty(0, np.int64)).shape == (0, DIMENSION)


@pytest.mark.parametrize("limit", [0, 1, 1_000])
def test_no_more_than_the_limit_comes_back(limit: int) -> None:
    catalogue = compass("0", "1", "2")
    index = VectorIndex(quantise(np.stack([turned(d) for d in (0, 45, 90)])), catalogue)
    assert len(index.nearest_items(EAST, limit, np.ones(3))) == min(limit, 3)


def test_an_exact_search_finds_everything_that_is_nearest() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    catalogue = Catalogue(items_frame(*({ITEM_ID: f"{i:03}", TITLE: f"{i:03}"} for i in range(300))))
    assert VectorIndex(quantise(vectors), catalogue).recall(vectors[:5].astype(np.float32), 50) == 1.0


def test_many_vectors_come_back_in_lists_that_later_ones_stand_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.index.MOST_IN_ONE_LIST", 1_000)
    vectors = np.random.default_rng(2).normal(size=(2_001, DIMENSION))
    stored = quantise(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    frame = items_frame(*({ITEM_ID: f"{i:04}", TITLE: f"{i:04}"} for i in range(2_001)))
    first, everything = Catalogue(frame[:2_000]), Catalogue(frame)
    facts = VectorIndex(stored[:2_000], first).save(tmp_path / "vectors.safetensors")
    assert facts["lists"] > facts["probes"] > 0
    assert facts["recall@500"] >= 0.97
    loaded = VectorIndex.load(tmp_path / "vectors.safetensors", first)
    np.testing.assert_array_equal(loaded.vectors, stored[:2_000])
    grown = loaded.extended(stored[2_000:], everything)
    for item in (0, 1_234, 2_000):
        own = dequantise(stored[item])
        assert grown.nearest_items(own / np.linalg.norm(own), 3, np.ones(2_001))[0] == item
    np.testing.assert_array_equal(grown.vectors, stored)
    some = np.asarray([5, 2_000, 77])
    np.testing.assert_array_equal(grown.of_items(some), dequantise(stored[some]))
    exact = VectorIndex(stored[:2_000], first).extended(stored[2_000:], everything)
    np.testing.assert_array_equal(
        grown.similarities(some, np.eye(8, dtype=np.float32)),
        exact.similarities(some, np.eye(8, dtype=np.float32)),
    )
    np.testing.assert_allclose(grown.centred(some), exact.centred(some), atol=1e-6)
    assert grown.save(tmp_path / "again.safetensors")["lists"] > 1
