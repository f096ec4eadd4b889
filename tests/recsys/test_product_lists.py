from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from recsys import list_shards
from recsys.catalogue import Catalogue
from recsys.code_lists import CodeLists
from recsys.index import VectorIndex, dequantise
from recsys.list_shards import ListShards, build_shards, learn_quantisers, load_lists, save_lists
from recsys.product_lists import ProductLists, learned_codebooks
from recsys.runner import LocalRunner
from recsys.schema import ITEM_ID, TITLE
from tests.recsys.small_catalogue import items_frame
from tests.recsys.test_code_lists import DIMENSION
from tests.recsys.test_code_lists import VECTORS as MORE

VECTORS = MORE[:6_000]
EXACT = CodeLists.exact(VECTORS)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, and quantisers learned on a sample of them."""
    found = tmp_path_factory.mktemp("shards")
    np.save(found / "vectors.npy", VECTORS)
    learn_quantisers(CodeLists.exact(VECTORS[::2]), found)
    return found


@pytest.fixture(scope="module")
def one(directory: Path) -> ProductLists:
    """All texts in one shard."""
    (found,) = build_shards(LocalRunner(), directory / "vectors.npy", directory, 1).shards
    return found


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


def test_shards_find_what_one_index_with_their_quantisers_finds(directory: Path, one: ProductLists) -> None:
    shards = build_shards(LocalRunner(), directory / "vectors.npy", directory, 3)
    assert [len(shard) for shard in shards.shards] == [2_000, 2_000, 2_000]
    for query in asked(30):
        for limit in (10, 100, 700):
            products, texts = shards.nearest(query, limit)
            expected, of_one = one.nearest(query, limit)
            assert texts.tolist() == of_one.tolist()
            assert products.tolist() == expected.tolist()
    assert len(shards.nearest(query, 30_000)[1]) == len(VECTORS)


def test_a_filter_that_passes_one_in_a_hundred_comes_out_whole(one: ProductLists) -> None:
    allowed = np.sort(np.random.default_rng(4).choice(len(VECTORS), len(VECTORS) // 100, replace=False))
    for query in asked(20):
        _, texts = one.nearest_of(query, 50, allowed)
        assert len(texts) == 50
        assert np.isin(texts, allowed).all()
        assert share(texts, query, allowed) == 1.0
    assert sorted(one.nearest_of(query, 1_000, allowed)[1].tolist()) == allowed.tolist()


def test_what_is_written_is_read_again_and_the_vectors_stay_on_disk(
    one: ProductLists, tmp_path: Path
) -> None:
    save_lists(one, tmp_path / "lists.safetensors")
    again = load_lists(tmp_path / "lists.safetensors")
    query = asked(1)[0]
    assert again.nearest(query, 50)[1].tolist() == one.nearest(query, 50)[1].tolist()
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes.keys() == {"lists.safetensors", "lists.full.safetensors"}
    assert sizes["lists.full.safetensors"] >= VECTORS.nbytes > sizes["lists.safetensors"]


def test_lists_that_two_machines_write_at_once_are_whole(
    one: ProductLists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "lists.safetensors"
    calls = 0

    def writing(arrays: dict[str, np.ndarray], path: Path) -> None:
        nonlocal calls
        calls += 1
        save_file(arrays, path)
        if calls == 1:  # another one, with the same process id
            save_lists(one, target)

    monkeypatch.setattr(list_shards, "save_file", writing)
    save_lists(one, target)
    assert {file.name for file in tmp_path.iterdir()} == {"lists.safetensors", "lists.full.safetensors"}
    query = asked(1)[0]
    assert load_lists(target).nearest(query, 50)[1].tolist() == one.nearest(query, 50)[1].tolist()


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
    assert (
        ListShards([lists]).nearest(query, 9)[1].tolist()
        == CodeLists.exact(VECTORS[:5]).nearest(query, 9)[1].tolist()
    )
