import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from features.registry import fingerprint
from recsys.bundle import load_bundle
from recsys.cli import run
from recsys.config import Config
from recsys.errors import BundleError, ConfigError, DataError, FeatureMismatchError
from recsys.manifest import Manifest, read_manifest, verify_files
from recsys.model_import import ImportedModel, import_ranker
from recsys.registry import Registry
from recsys.workspace import Workspace
from tests.recsys.small_catalogue import (
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    small_ranker,
    write_shop_bundle,
)

VERBS = [EntryPoint("models", "recsys.commands:models", "recsys.commands")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose registry serves the bundle ``v1``; tests may add bundles and promote none."""
    workspace = Workspace(tmp_path_factory.mktemp("import"))
    registry, catalogue = Registry(workspace.registry), greengrocer()
    config = small_config(greengrocer_encoder(workspace.root / "encoder"))
    write_shop_bundle(registry.path("v1"), config, catalogue, events_frame(shopping(catalogue)))
    registry.promote("v1")
    return workspace


@pytest.fixture
def own(shop: Workspace, tmp_path: Path) -> Workspace:
    """The same bundle in a registry to be written to."""
    workspace = Workspace(tmp_path / "own")
    registry = Registry(workspace.registry)
    registry.path("v1").parent.mkdir(parents=True)
    registry.path("v1").symlink_to(Registry(shop.registry).path("v1"))
    registry.promote("v1")
    return workspace


def names_of(workspace: Workspace) -> tuple[str, ...]:
    return read_manifest(Registry(workspace.registry).path("v1")).feature_names


def model_file(directory: Path, names: tuple[str, ...], seed: int = 7) -> Path:
    small_ranker(names, seed, num_trees=9).save(directory / "model.txt")
    return directory / "model.txt"


def description(directory: Path, names: tuple[str, ...], **more: object) -> Path:
    path = directory / "features.json"
    path.write_text(json.dumps({"feature_names": list(names), **more}))
    return path


def imported(workspace: Workspace, directory: Path, **more: object) -> tuple[ImportedModel, Manifest]:
    names = names_of(workspace)
    made = import_ranker(workspace, model_file(directory, names), description(directory, names, **more))
    return made, read_manifest(Registry(workspace.registry).path(made.version))


def test_the_new_bundle_is_the_old_one_with_the_other_ranker(shop: Workspace, tmp_path: Path) -> None:
    made, manifest = imported(shop, tmp_path)
    registry = Registry(shop.registry)
    before = read_manifest(registry.path("v1"))
    verify_files(registry.path(made.version), manifest)
    assert (made.parent_version, manifest.parent_version, made.num_trees) == ("v1", "v1", 9)
    assert manifest.files.keys() == before.files.keys()
    assert {name for name, entry in manifest.files.items() if entry != before.files[name]} == {"ranker.txt"}
    assert (manifest.fitted_until, manifest.config) == (before.fitted_until, before.config)
    assert "ranker_validation_ndcg@10" in before.metrics
    assert manifest.metrics == {}
    bundle = load_bundle(registry.path(made.version), fingerprint(manifest.config.state))
    rows = np.random.default_rng(0).exponential(size=(9, len(manifest.feature_names))).astype(np.float32)
    expected = small_ranker(manifest.feature_names, 7, num_trees=9)
    assert bundle.ranker("all").scores(rows).tolist() == expected.scores(rows).tolist()
    assert manifest.training["rankers"]["all"]["gain"] == pytest.approx(expected.gain())


def test_it_serves_only_when_it_is_told_to(own: Workspace, tmp_path: Path) -> None:
    registry, names = Registry(own.registry), names_of(own)
    model, features = model_file(tmp_path, names), description(tmp_path, names)
    assert not import_ranker(own, model, features).promoted
    assert registry.pointers().stable == "v1"
    made = import_ranker(own, model, features, promote=True)
    assert (registry.pointers().stable, registry.pointers().previous) == (made.version, "v1")


def test_a_model_of_a_bare_matrix_gets_its_names_from_the_description(
    shop: Workspace, tmp_path: Path
) -> None:
    names = names_of(shop)
    unnamed = tuple(f"Column_{i}" for i in range(len(names)))
    made = import_ranker(shop, model_file(tmp_path, unnamed), description(tmp_path, names))
    bundle = load_bundle(Registry(shop.registry).path(made.version))
    assert bundle.ranker("all").feature_names == names


def test_a_special_ranker_leaves_the_general_one_alone(shop: Workspace, tmp_path: Path) -> None:
    names, registry = names_of(shop), Registry(shop.registry)
    model, features = model_file(tmp_path, names), description(tmp_path, names)
    made = import_ranker(shop, model, features, ranker_name="new")
    before, manifest = read_manifest(registry.path("v1")), read_manifest(registry.path(made.version))
    assert manifest.canary_scores["all"] == before.canary_scores["all"]
    assert manifest.metrics == before.metrics
    bundle = load_bundle(registry.path(made.version))
    rows = np.random.default_rng(0).exponential(size=(9, len(names))).astype(np.float32)
    assert set(bundle.rankers) == {"all", "new"}
    assert bundle.ranker("all").scores(rows).tolist() != bundle.ranker("new").scores(rows).tolist()


def test_data_that_the_model_saw_later_moves_the_end_of_the_bundle(shop: Workspace, tmp_path: Path) -> None:
    _, manifest = imported(shop, tmp_path, fitted_until="2030-01-02T03:00:00Z")
    assert manifest.fitted_until == datetime(2030, 1, 2, 3, tzinfo=UTC)
    assert manifest.version.startswith("20300102-")
    _, earlier = imported(shop, tmp_path, fitted_until="2001-01-01T00:00:00Z")
    assert earlier.fitted_until == read_manifest(Registry(shop.registry).path("v1")).fitted_until


def refused(workspace: Workspace, error: type[Exception], match: str, model: Path, features: Path) -> None:
    """An import fails with these words and leaves nothing behind."""
    before = sorted(path.name for path in (workspace.registry / "bundles").iterdir())
    with pytest.raises(error, match=match):
        import_ranker(workspace, model, features)
    assert sorted(path.name for path in (workspace.registry / "bundles").iterdir()) == before


def test_unknown_and_missing_features_are_listed(shop: Workspace, tmp_path: Path) -> None:
    names = (*names_of(shop)[1:], "shoe_size")
    match = f"unknown: shoe_size; missing: {names_of(shop)[0]};"
    refused(shop, FeatureMismatchError, match, model_file(tmp_path, names), description(tmp_path, names))


def test_another_order_is_refused_with_the_right_one(shop: Workspace, tmp_path: Path) -> None:
    ours = names_of(shop)
    names = (ours[1], ours[0], *ours[2:])
    match = f"another order.*: {ours[0]}, {ours[1]}, "
    refused(shop, FeatureMismatchError, match, model_file(tmp_path, names), description(tmp_path, names))


def test_a_model_that_is_not_what_its_description_says_is_refused(shop: Workspace, tmp_path: Path) -> None:
    ours = names_of(shop)
    model = model_file(tmp_path, (*ours[1:], "shoe_size"))
    refused(shop, FeatureMismatchError, "by its own names", model, description(tmp_path, ours))


@pytest.mark.parametrize("key", ["fingerprint", "feature_fingerprint"])
def test_features_of_other_definitions_are_refused(shop: Workspace, tmp_path: Path, key: str) -> None:
    names = names_of(shop)
    imported(shop, tmp_path, **{key: fingerprint(Config().state)})
    wrong: Mapping[str, object] = {key: "0" * 64}
    features = description(tmp_path, names, **wrong)
    refused(shop, FeatureMismatchError, "other definitions", model_file(tmp_path, names), features)


def test_a_damaged_model_is_an_error_and_nothing_else(shop: Workspace, tmp_path: Path) -> None:
    names = names_of(shop)
    model, features = model_file(tmp_path, names), description(tmp_path, names)
    whole = model.read_bytes()
    for raw in (whole[: len(whole) // 3], b"", b"no model"):
        model.write_bytes(raw)
        refused(shop, BundleError, r"model\.txt", model, features)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"feature_names": []}', '{"feature_names": [1]}'])
def test_a_description_says_what_it_should_be(shop: Workspace, tmp_path: Path, content: str) -> None:
    path = tmp_path / "features.json"
    path.write_text(content)
    refused(shop, DataError, r"features\.json should be JSON", model_file(tmp_path, names_of(shop)), path)


def test_files_that_are_not_there_are_named(shop: Workspace, tmp_path: Path) -> None:
    features = description(tmp_path, names_of(shop))
    refused(shop, DataError, r"absent\.txt", tmp_path / "absent.txt", features)
    refused(shop, DataError, r"absent\.json", tmp_path / "model.txt", tmp_path / "absent.json")


def test_an_unknown_ranker_and_an_empty_registry_are_refused(shop: Workspace, tmp_path: Path) -> None:
    names = names_of(shop)
    model, features = model_file(tmp_path, names), description(tmp_path, names)
    with pytest.raises(ConfigError, match=r"no ranker 'best'; there are: all"):
        import_ranker(shop, model, features, ranker_name="best")
    with pytest.raises(BundleError, match="recsys train"):
        import_ranker(Workspace(tmp_path / "new"), model, features)


def test_the_command_tells_the_new_version(
    own: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = names_of(own)
    files = ["--ranker", str(model_file(tmp_path, names)), "--features", str(description(tmp_path, names))]
    command = ["models", "import", *files, "--workspace", str(own.root)]
    assert run([*command, "--json"], VERBS) == 0
    made = json.loads(capsys.readouterr().out)
    assert made.keys() == {"version", "parent_version", "ranker_name", "num_trees", "promoted"}
    assert (made["parent_version"], made["ranker_name"], made["promoted"]) == ("v1", "all", False)
    assert run([*command, "--promote"], VERBS) == 0
    assert "it is now stable" in capsys.readouterr().out
    (tmp_path / "model.txt").write_bytes(b"no model")
    assert run(command, VERBS) == 1
    assert capsys.readouterr().err.startswith("error: model.txt: ")
