from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recsys import list_shards
from recsys.catalogue import Catalogue
from recsys.code_lists import CodeLists
from recsys.index import VectorIndex, dequantise
from recsys.list_shards import build_shards, learn_quantisers, load_lists, vectors_file, write_in_shards
from recsys.mapped import mapped_arrays
from recsys.product_lists import ProductLists, learned_codebooks
from recsys.runner import LocalRunner
from recsys.schema import ITEM_ID, TITLE
from tests.recsys.small_catalogue import items_frame
from tests.recsys.test_code_lists import DIMENSION
from tests.recsys.test_code_lists import VECTORS as MORE

VECTORS = MORE[:6_000]
EXACT = CodeLists.exact(VECTORS)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All texts, made in one shard."""
    path = tmp_path_factory.mktemp("index") / "lists.safetensors"
    write_in_shards(EXACT, path)
    return path


@pytest.fixture(scope="module")
def one(written: Path) -> ProductLists:
    """The same, mapped."""
    return load_lists(written)


def asked(num: int = 50) -> np.ndarray:
    """Queries that texts of the few are near."""
    random = np.random.default_rng(8)
    return np.stack([EXACT.mean_of(random.choice(len(VECTORS), 3)) for _ in range(num)])


def share(found: np.ndarray, query: np.ndarray, allowed: np.ndarray | None = None) -> float:
    """How many of the nearest there are were found."""
    products = VECTORS.astype(np.float32) @ query
    if allowed is not None:
        products[np.setdiff1d(np.arange(len(products)), allowed)] = -np.inf
    least = np.sort(products)[-len(found)]
    return float(np.mean(products[found] >= least))


def test_product_codes_take_a_sixteenth_of_float32_and_find_what_is_nearest(one: ProductLists) -> None:
    assert one.short.nbytes == len(VECTORS) * DIMENSION * 4 / 16
    assert np.mean([share(one.nearest(query, 10)[1], query) for query in asked()]) >= 0.97
    assert np.mean([share(one.nearest(query, 100)[1], query) for query in asked()]) >= 0.95


def test_what_is_found_has_the_products_of_the_vectors(one: ProductLists) -> None:
    query = asked(1)[0]
    products, texts = one.nearest(query, 100)
    assert products.tolist() == (VECTORS[texts].astype(np.float32) @ query).tolist()
    assert (np.diff(products) <= 0).all()


def test_an_index_is_the_same_to_the_byte_in_however_many_shards_it_is_made(
    written: Path, tmp_path: Path
) -> None:
    path = tmp_path / "lists.safetensors"
    facts = write_in_shards(EXACT, path, texts_per_shard=1_700)
    assert facts["recall@500"] >= 0.95
    assert {file.name for file in tmp_path.iterdir()} == {path.name, vectors_file(path).name}
    for ours, theirs in ((path, written), (vectors_file(path), vectors_file(written))):
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_filter_that_passes_one_in_a_hundred_comes_out_whole(one: ProductLists) -> None:
    allowed = np.sort(np.random.default_rng(4).choice(len(VECTORS), len(VECTORS) // 100, replace=False))
    for query in asked(20):
        _, texts = one.nearest_of(query, 50, allowed)
        assert len(texts) == 50
        assert np.isin(texts, allowed).all()
        assert share(texts, query, allowed) == 1.0
    assert sorted(one.nearest_of(query, 1_000, allowed)[1].tolist()) == allowed.tolist()


def test_of_much_that_passes_a_filter_the_near_lists_are_read(
    one: ProductLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.code_lists.MOST_LOOKED_AT", 600)
    allowed = np.arange(0, len(VECTORS), 2)
    for lists in (one, one.exhaustive.tuned()):
        shares = []
        for query in asked(30):
            assert len(lists.in_near_lists(query, allowed)) < len(allowed) * 0.9
            _, texts = lists.nearest_of(query, 50, allowed)
            assert np.isin(texts, allowed).all()
            shares.append(share(texts, query, allowed))
        assert np.mean(shares) >= 0.97


def test_the_vectors_are_in_a_file_that_a_search_reads_little_of(written: Path, one: ProductLists) -> None:
    np.testing.assert_array_equal(one.vectors(np.arange(len(VECTORS))), VECTORS)
    assert load_file(written).keys() >= {"mean", "num_probes", "recall"}
    assert vectors_file(written).stat().st_size >= VECTORS.nbytes > written.stat().st_size


def test_texts_that_come_later_are_found_without_a_rebuild(tmp_path: Path) -> None:
    frame = items_frame(*({ITEM_ID: f"{i:04}", TITLE: f"{i:04}"} for i in range(1_001)))
    first, everything = Catalogue(frame[:1_000]), Catalogue(frame)
    path = tmp_path / "vectors.safetensors"
    facts = VectorIndex(VECTORS[:1_000], first).save(path, product_codes_above=999)
    assert facts["lists"] > 1
    index = VectorIndex.load(path, first)
    np.testing.assert_array_equal(index.vectors, VECTORS[:1_000])
    grown = index.extended(VECTORS[1_000:1_001], everything)
    for item in (3, 1_000):
        own = dequantise(VECTORS[item])
        assert grown.nearest_items(own / np.linalg.norm(own), 3, np.ones(1_001))[0] == item
    assert grown.recall(dequantise(VECTORS[:5]), 10) >= 0.9


def test_a_catalogue_below_the_threshold_is_written_as_ever(tmp_path: Path) -> None:
    catalogue = Catalogue(items_frame(*({ITEM_ID: f"{i:04}", TITLE: f"{i:04}"} for i in range(1_000))))
    write = VectorIndex(VECTORS[:1_000], catalogue).save
    write(tmp_path / "ever.safetensors")
    write(tmp_path / "below.safetensors", product_codes_above=1_000)
    assert (tmp_path / "ever.safetensors").read_bytes() == (tmp_path / "below.safetensors").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_few_texts_can_have_product_codes() -> None:
    few = CodeLists.exact(VECTORS[:5]).clustered()
    lists = ProductLists.of(few, learned_codebooks(few)).stated()
    query = asked(1)[0]
    assert lists.nearest(query, 9)[1].tolist() == CodeLists.exact(VECTORS[:5]).nearest(query, 9)[1].tolist()


def test_a_shard_that_two_machines_make_at_once_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, MORE[:600])
    learn_quantisers(CodeLists.exact(MORE[:600]), tmp_path)
    calls = 0

    def writing(arrays: dict[str, np.ndarray], path: Path) -> None:
        nonlocal calls
        calls += 1
        save_file(arrays, path)
        if calls == 1:  # another one makes it too, with the same process id
            build_shards(LocalRunner(), vectors, tmp_path, 1)

    monkeypatch.setattr(list_shards, "save_file", writing)
    [shard] = build_shards(LocalRunner(), vectors, tmp_path, 1)
    assert sorted(mapped_arrays(shard)["texts"].tolist()) == list(range(600))
    assert {file.suffix for file in tmp_path.iterdir()} == {".npy", ".safetensors"}
