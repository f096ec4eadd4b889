import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from recsys.bundle import load_bundle
from recsys.errors import BundleError, ConfigError, LeakageError
from recsys.manifest import read_manifest
from recsys.registry import Registry
from recsys.schema import DAY_MS
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT_MS
from training.recipe import train


def copy_of(workspace: Workspace, registry: Path, root: Path) -> Workspace:
    """The same data and models, to be written to."""
    copied = Workspace(root)
    for name in ("items", "events"):
        shutil.copytree(workspace.root / name, copied.root / name)
    shutil.copytree(registry, copied.registry)
    return copied


def test_a_kept_encoder_gives_the_ranker_the_same_text_scores_to_learn_from(
    trained: Trained, tmp_path: Path
) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    summary = train(workspace, config=trained.config, only="ranker")
    ours, theirs = Registry(workspace.registry).stable(), Registry(trained.workspace.registry).stable()
    assert ours.name == summary.version != theirs.name
    for name in ("vectors", "words"):
        found, expected = (load_file(path / "items" / f"{name}.safetensors") for path in (ours, theirs))
        np.testing.assert_allclose(
            found["codes"].astype(np.int64), expected["codes"].astype(np.int64), atol=1
        )
    towers = "encoder/towers.safetensors"
    assert (ours / towers).read_bytes() == (theirs / towers).read_bytes()
    before, after = read_manifest(theirs), load_bundle(ours).manifest
    assert after.parent_version == before.version
    assert after.parts_fitted_until_ms == before.parts_fitted_until_ms
    assert after.training["encoder"] == before.training["encoder"]
    assert after.canary_scores.keys() == before.canary_scores.keys()


def test_with_a_longer_log_the_ranker_moves_on_and_the_encoder_stays(
    trained: Trained, later: Workspace, tmp_path: Path
) -> None:
    workspace = copy_of(later, trained.workspace.registry, tmp_path)
    summary = train(workspace, config=trained.config, only="ranker")
    before = read_manifest(Registry(trained.workspace.registry).stable())
    after = read_manifest(Registry(workspace.registry).stable())
    assert after.fitted_until_ms == summary.fitted_until_ms > CUT_MS > before.fitted_until_ms
    assert after.parts_fitted_until_ms["ease"] == after.fitted_until_ms
    for part in ("encoder", "calibration"):
        assert after.parts_fitted_until_ms[part] == before.parts_fitted_until_ms[part]


def test_an_encoder_that_saw_the_label_windows_is_refused(trained: Trained, tmp_path: Path) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    with pytest.raises(LeakageError, match="--until"):
        train(workspace, until_ms=CUT_MS - 7 * DAY_MS, config=trained.config, only="ranker")
    assert Registry(workspace.registry).pointers().stable == trained.version


def test_an_encoder_of_other_settings_cannot_be_kept(trained: Trained, tmp_path: Path) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    encoder = trained.config.encoder.model_copy(update={"dimension": 24})
    with pytest.raises(ConfigError, match=r"encoder\.dimension;"):
        train(workspace, config=trained.config.model_copy(update={"encoder": encoder}), only="ranker")


def test_without_a_bundle_there_is_nothing_to_take_over(trained: Trained, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("items", "events"):
        shutil.copytree(trained.workspace.root / name, workspace.root / name)
    with pytest.raises(BundleError, match="recsys train"):
        train(workspace, config=trained.config, only="ranker")


def test_a_new_encoder_gets_rankers_of_its_own_with_as_many_trees_as_before(
    trained: Trained, tmp_path: Path
) -> None:
    workspace = copy_of(trained.workspace, trained.workspace.registry, tmp_path)
    train(workspace, config=trained.config, only="encoder")
    ours, theirs = (Registry(place.registry).stable() for place in (workspace, trained.workspace))
    before, after = read_manifest(theirs), load_bundle(ours).manifest
    for name, ranker in after.training["rankers"].items():
        assert ranker["num_trees"] == before.training["rankers"][name]["num_trees"]
        assert ranker["curve"] == []
    assert "ranker_validation_ndcg@10" not in after.metrics
    # from the same log and seed the encoder comes out the same, and so do the rankers behind it
    assert (ours / "ranker.txt").read_bytes() == (theirs / "ranker.txt").read_bytes()
