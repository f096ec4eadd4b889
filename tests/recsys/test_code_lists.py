from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recsys.code_lists import RECALL_AT, CodeLists
from recsys.index import quantise

DIMENSION = 32


def texts_that_read_alike(num: int) -> np.ndarray:
    """Unit vectors near a curved surface of few dimensions, as those of real texts are, quantised."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(num, 6))
    bent = np.tanh(hidden @ random.normal(size=(6, DIMENSION))) + 0.1 * random.normal(size=(num, DIMENSION))
    return quantise(bent / np.linalg.norm(bent, axis=1, keepdims=True))


VECTORS = texts_that_read_alike(20_000)
EXACT = CodeLists.exact(VECTORS)


@pytest.fixture(scope="module")
def clustered() -> CodeLists:
    return EXACT.clustered()


def queries(num: int) -> np.ndarray:
    """Means of three texts each, other than those that the number of probes was chosen by."""
    random = np.random.default_rng(7)
    means = VECTORS[random.integers(0, len(VECTORS), (num, 3))].astype(np.float32).mean(1)
    found: np.ndarray = np.rint(127 * means / np.linalg.norm(means, axis=1, keepdims=True))
    return found


def test_one_list_is_searched_exactly() -> None:
    query = queries(1)[0]
    products = VECTORS.astype(np.float32) @ query
    found, texts = EXACT.nearest(query, 50)
    assert texts.tolist() == np.lexsort((np.arange(len(products)), -products))[:50].tolist()
    assert found.tolist() == products[texts].tolist()


def test_lists_find_what_is_nearest_and_read_a_part_of_the_texts(clustered: CodeLists) -> None:
    shares = [
        np.isin(EXACT.nearest(query, RECALL_AT)[1], clustered.nearest(query, RECALL_AT)[1]).mean()
        for query in queries(50)
    ]
    assert np.mean(shares) >= 0.95
    assert 0.97 <= clustered.recall <= 1
    assert clustered.num_probes < len(clustered.centroids) / 2


def test_what_lists_find_has_the_products_it_has(clustered: CodeLists) -> None:
    query = queries(1)[0]
    products, texts = clustered.nearest(query, 100)
    assert products.tolist() == (VECTORS[texts].astype(np.float32) @ query).tolist()
    assert (np.diff(products) <= 0).all()


def test_every_text_keeps_its_vector(clustered: CodeLists) -> None:
    wanted = np.asarray([7, 0, 19_999, 7])
    np.testing.assert_array_equal(clustered.vectors(wanted), VECTORS[wanted])
    np.testing.assert_array_equal(clustered.vectors(np.arange(len(VECTORS))), VECTORS)
    np.testing.assert_allclose(clustered.mean(), VECTORS.mean(0), rtol=1e-5, atol=1e-4)


def test_more_lists_are_read_where_the_nearest_hold_too_few(clustered: CodeLists) -> None:
    assert len(clustered.nearest(queries(1)[0], 15_000)[1]) == 15_000
    products, texts = clustered.nearest(queries(1)[0], 30_000)
    assert sorted(texts.tolist()) == list(range(20_000))
    assert len(products) == 20_000


def test_several_threads_find_what_one_finds(clustered: CodeLists) -> None:
    asked = list(queries(40))
    alone = [clustered.nearest(query, 20)[1].tolist() for query in asked]
    with ThreadPoolExecutor(4) as pool:
        assert [texts.tolist() for _, texts in pool.map(lambda q: clustered.nearest(q, 20), asked)] == alone


def test_no_text_is_near_where_there_is_none() -> None:
    nothing = CodeLists.exact(np.empty((0, DIMENSION), np.int8))
    assert nothing.nearest(np.ones(DIMENSION, np.float32), 5)[1].tolist() == []
