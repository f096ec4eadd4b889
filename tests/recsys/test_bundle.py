import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModel

from features.registry import fingerprint, names
from recsys.bundle import Bundle, load_bundle, write_bundle
from recsys.bundle_check import check_parts
from recsys.code_lists import CodeLists
from recsys.encoder import TextEncoder, encode_texts
from recsys.errors import BundleError, FeatureMismatchError
from recsys.index import VectorIndex
from recsys.manifest import describe_files, read_manifest
from recsys.product_lists import ProductLists, learned_codebooks
from recsys.ranker import Ranker
from recsys.schema import ITEM_ID
from tests.recsys.small_catalogue import (
    NOW,
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    small_ranker,
    small_towers,
    write_shop_bundle,
)

FILES = {
    "calibration.json",
    "candidates/als.safetensors",
    "candidates/co_occurrence.safetensors",
    "candidates/ease.safetensors",
    "candidates/following.safetensors",
    "candidates/history.safetensors",
    "candidates/resemblance.safetensors",
    "catalogue/derived.safetensors",
    "catalogue/items.parquet",
    "encoder/config.json",
    "encoder/model.safetensors",
    "encoder/tokenizer.json",
    "encoder/tokenizer_config.json",
    "encoder/towers.safetensors",
    "items/vectors.safetensors",
    "items/words.safetensors",
    "ranker.txt",
    "ranker_new.txt",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle; nobody may write to it."""
    root: Path = tmp_path_factory.mktemp("bundle")
    catalogue = greengrocer()
    config = small_config(greengrocer_encoder(root / "encoder"))
    write_shop_bundle(root / "v1", config, catalogue, events_frame(shopping(catalogue)))
    return root / "v1"


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """A copy to damage, whose files are hard links until they are replaced."""
    for path in original.rglob("*"):
        if path.is_file():
            target = tmp_path / "v1" / path.relative_to(original)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return tmp_path / "v1"


def replace(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Write other content to a file without touching what it was linked to."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(change(content))


def replace_manifest(directory: Path, **changes: object) -> None:
    def changed(content: bytes) -> bytes:
        return json.dumps(json.loads(content) | changes).encode()

    replace(directory / "manifest.json", changed)


def load(directory: Path) -> Bundle:
    return load_bundle(directory, fingerprint(read_manifest(directory).config.state))


def test_a_bundle_holds_these_files_and_no_pickle(original: Path) -> None:
    manifest = read_manifest(original)
    assert set(manifest.files) == FILES
    assert {entry.name for entry in original.iterdir()} >= {"manifest.json", "ranker.txt"}
    for path in original.rglob("*"):
        assert path.suffix not in {".bin", ".pt", ".ckpt", ".pkl"}


def test_the_manifest_tells_what_the_bundle_is(original: Path) -> None:
    manifest = read_manifest(original)
    assert manifest.version == "v1"
    assert manifest.parent_version is None
    assert manifest.feature_names == names(manifest.config.state)
    assert set(manifest.parts_fitted_until_ms.values()) == {NOW}
    assert manifest.canary_inputs[0][0] is None
    assert manifest.canary_scores.keys() == {"all", "new"}
    assert {len(scores) for scores in manifest.canary_scores.values()} == {len(manifest.canary_inputs)} == {4}
    assert "lightgbm" in manifest.libraries


def test_what_is_loaded_is_what_was_written(original: Path) -> None:
    bundle = load(original)
    catalogue = greengrocer()
    config = bundle.manifest.config
    encoder = TextEncoder(Path(config.encoder.model), 1, config.encoder.max_tokens)
    towers = small_towers(encoder, catalogue, config)
    assert bundle.parts.catalogue.frame.equals(catalogue.frame)
    with torch.no_grad():
        vectors = towers.item(encode_texts(encoder, catalogue.texts)).numpy()
    assert (
        np.abs(bundle.parts.index.vectors - 127 * vectors).max() <= 1
    )  # texts are read in bfloat16 on some machines
    for name, value in towers.user.state_dict().items():
        assert torch.equal(bundle.parts.user_tower.state_dict()[name], value)
    ranker = small_ranker(bundle.manifest.feature_names)
    rows = np.random.default_rng(0).exponential(size=(9, len(ranker.feature_names))).astype(np.float32)
    assert np.array_equal(bundle.ranker("all").scores(rows), ranker.scores(rows))
    assert (bundle.parts.calibration.slope, bundle.parts.calibration.intercept) == (4.0, -2.0)
    assert len(bundle.parts.tables.co_occurrence.weights) > 0
    assert len(bundle.parts.tables.ease.weights) > 0


def test_the_encoder_and_the_vectors_before_training_are_kept_for_others(original: Path) -> None:
    model = AutoModel.from_pretrained(original / "encoder")
    words = load_file(original / "items" / "words.safetensors")["codes"]
    assert words.dtype == np.uint8
    assert words.shape == (len(greengrocer().texts), model.config.hidden_size)


def test_each_thing_to_order_has_its_ranker_and_what_has_none_the_one_for_everything(original: Path) -> None:
    bundle = load(original)
    assert bundle.rankers.keys() == {"all", "new"}
    rows = np.random.default_rng(0).exponential(size=(9, len(bundle.manifest.feature_names)))
    every, new, shown = (
        bundle.ranker(name).scores(rows.astype(np.float32)) for name in ("all", "new", "shown")
    )
    assert np.array_equal(shown, every)
    assert not np.array_equal(new, every)


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_flipped_bit_in_any_file_is_noticed(copy: Path, name: str) -> None:
    def flipped(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    replace(copy / name, flipped)
    with pytest.raises(BundleError, match="does not match its recorded hash"):
        load(copy)


def test_a_missing_file_is_noticed(copy: Path) -> None:
    (copy / "calibration.json").unlink()
    with pytest.raises(BundleError, match=r"missing or added files.*calibration\.json"):
        load(copy)


def test_an_added_file_is_noticed(copy: Path) -> None:
    (copy / "encoder" / "more.py").write_text("", encoding="utf-8")
    with pytest.raises(BundleError, match=r"missing or added files.*more\.py"):
        load(copy)


@pytest.mark.parametrize("ranker", ["all", "new"])
def test_canary_rows_that_score_differently_are_noticed(copy: Path, ranker: str) -> None:
    scores = read_manifest(copy).canary_scores
    *first, last = scores[ranker]
    replace_manifest(copy, canary_scores=scores | {ranker: [*first, last + 1e-3]})
    with pytest.raises(BundleError, match=f"canary rows score differently here .*{ranker}"):
        load(copy)


def test_a_canary_score_that_is_no_number_is_noticed(copy: Path) -> None:
    replace(
        copy / "manifest.json",
        lambda content: json.dumps(
            json.loads(content) | {"canary_scores": {"all": [float("nan")] * 4}}
        ).encode(),
    )
    with pytest.raises(BundleError):
        load(copy)


def test_other_feature_definitions_are_refused(original: Path) -> None:
    with pytest.raises(FeatureMismatchError, match="train again"):
        load_bundle(original, "0" * 64)
    assert load_bundle(original).manifest.version == "v1"


def test_a_ranker_with_other_features_is_refused(copy: Path) -> None:
    replace_manifest(copy, feature_names=["something", "else"])
    with pytest.raises(FeatureMismatchError):
        load(copy)


def test_files_that_verify_but_hold_something_else_are_a_bundle_error(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["config"]["encoder"]["dimension"] = 16
    replace_manifest(copy, config=manifest["config"])
    with pytest.raises(BundleError, match="does not fit the configured towers"):
        load(copy)


def test_a_directory_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle 'v7'"):
        load_bundle(tmp_path / "v7")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_nothing_behind(
    original: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    bundle = load(original)
    encoder = TextEncoder(Path(bundle.manifest.config.encoder.model), 1, 16)
    towers = small_towers(encoder, bundle.parts.catalogue, bundle.manifest.config)

    class Interrupted(Ranker):
        def save(self, path: Path) -> None:
            path.write_text("half a tr", encoding="utf-8")
            raise error

    ranker = Interrupted.load(original / "ranker.txt", bundle.manifest.feature_names)
    with pytest.raises(error):
        write_bundle(
            tmp_path / "bundles" / "v2",
            {"version": "v2"},
            bundle.parts,
            encoder,
            towers,
            {"all": ranker},
            np.zeros((1, len(ranker.feature_names)), np.float32),
        )
    assert list((tmp_path / "bundles").iterdir()) == []


def test_a_bundle_does_not_depend_on_where_it_lies(copy: Path) -> None:
    moved = copy.rename(copy.with_name("elsewhere"))
    assert load(moved).manifest.version == "v1"
    assert pl.read_parquet(moved / "catalogue" / "items.parquet")[ITEM_ID].is_sorted()


def test_a_bundle_from_before_files_were_mapped_says_the_same(copy: Path) -> None:
    new = load(copy).parts
    for name, index in (("vectors", new.index), ("words", new.words)):
        path = copy / "items" / f"{name}.safetensors"
        path.unlink()
        save_file({"vectors": index.vectors}, path)
    (copy / "catalogue" / "derived.safetensors").unlink()
    replace_manifest(copy, files={n: e.model_dump() for n, e in describe_files(copy).items()}, search={})
    old = load(copy).parts
    np.testing.assert_array_equal(old.index.vectors, new.index.vectors)
    assert list(old.catalogue.texts) == list(new.catalogue.texts)
    np.testing.assert_array_equal(old.catalogue.text_of_item, new.catalogue.text_of_item)
    np.testing.assert_array_equal(old.catalogue.numbers, new.catalogue.numbers)
    np.testing.assert_array_equal(old.catalogue.shared_words.toarray(), new.catalogue.shared_words.toarray())
    for query in ("red apple", "app", "nothing at all"):
        for theirs, ours in zip(
            vars(old.catalogue.word_index.matches(query)).values(),
            vars(new.catalogue.word_index.matches(query)).values(),
            strict=True,
        ):
            np.testing.assert_array_equal(theirs, ours)
    some = np.arange(len(new.catalogue))
    np.testing.assert_array_equal(old.index.centred(some), new.index.centred(some))


def test_what_is_mapped_is_checked_before_it_is_used(copy: Path) -> None:
    replace(copy / "items" / "vectors.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"items/vectors\.safetensors does not match"):
        load(copy)
    replace(copy / "items" / "vectors.safetensors", lambda content: content[:20])
    with pytest.raises(BundleError, match=r"items/vectors\.safetensors does not match"):
        load(copy)


def test_product_codes_that_do_not_fit_are_refused(original: Path) -> None:
    parts = load(original).parts
    vectors = parts.index.vectors
    few = CodeLists.exact(vectors).clustered()
    lists = ProductLists.of(few, learned_codebooks(few))
    for harm, told in (
        ({"short": lists.short[1:]}, "product codes of another shape"),
        ({"codebooks": lists.codebooks * np.nan}, "not finite"),
        ({"codebooks": lists.codebooks[:, :9]}, "item vectors"),
    ):
        harmed = dataclasses.replace(lists)
        vars(harmed).update(harm)  # as a file says it: nothing checks that while it is read
        index = VectorIndex(harmed, parts.catalogue)
        with pytest.raises(BundleError, match=told):
            check_parts(dataclasses.replace(parts, index=index))
    check_parts(dataclasses.replace(parts, index=VectorIndex(lists, parts.catalogue)))
