import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from recsys.bundle import read_manifest, verify_files
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.registry import Registry
from recsys.schema import DAY_MS, EVENT_TIME
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT, ingest_shop
from training.recipe import train


def test_the_bundle_verifies_and_serves(trained: Trained) -> None:
    registry = Registry(trained.workspace.registry)
    manifest = read_manifest(registry.stable())
    verify_files(registry.stable(), manifest)
    assert registry.pointers().stable == manifest.version == trained.version
    assert manifest.config == trained.config
    assert manifest.data_from == trained.shop.history[EVENT_TIME].min()


def test_what_the_ranker_learns_from_was_fitted_before_its_windows(trained: Trained) -> None:
    end_ms = EventLog(trained.workspace.events).end_ms()
    assert end_ms is not None
    until_ms = end_ms + 1
    manifest = read_manifest(Registry(trained.workspace.registry).stable())
    parts = manifest.parts_fitted_until_ms
    assert round(manifest.fitted_until.timestamp() * 1000) == until_ms
    assert parts["encoder"] == parts["calibration"] == until_ms - 3 * 14 * DAY_MS
    assert parts["co_occurrence"] == parts["adoption"] == until_ms


def test_every_stage_is_timed_and_described(trained: Trained) -> None:
    training = read_manifest(Registry(trained.workspace.registry).stable()).training
    assert training["seconds"].keys() >= {"encoder", "decisions", "ranker"}
    assert training["encoder"]["texts"] == len(trained.shop.items)
    assert training["ranker"]["num_trees"] >= 1
    assert sum(training["ranker"]["gain"].values()) > 0


def test_training_until_a_moment_is_training_on_a_log_that_ends_there(
    trained: Trained, later: Workspace, tmp_path: Path
) -> None:
    again = Workspace(tmp_path / "again")
    for name in ("items", "events"):
        shutil.copytree(later.root / name, again.root / name)
    manifest = read_manifest(Registry(trained.workspace.registry).stable())
    until_ms = round(manifest.fitted_until.timestamp() * 1000)
    summary = train(again, until_ms=until_ms, config=trained.config)
    assert summary.fitted_until_ms == until_ms
    ours, theirs = Registry(again.registry).stable(), Registry(trained.workspace.registry).stable()
    assert (ours / "ranker.txt").read_bytes() == (theirs / "ranker.txt").read_bytes()
    for name in ("items/vectors.safetensors", "candidates/co_occurrence.safetensors"):
        found, expected = load_file(ours / name), load_file(theirs / name)
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key], array)


def test_an_empty_log_says_what_to_run(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.workspace.items, tmp_path / "items")
    with pytest.raises(DataError, match="recsys ingest"):
        train(Workspace(tmp_path), config=trained.config)


def test_a_workspace_without_items_says_what_to_run(tmp_path: Path, trained: Trained) -> None:
    with pytest.raises(DataError, match="recsys ingest"):
        train(Workspace(tmp_path), config=trained.config)


@pytest.mark.parametrize("num_days", [5, 50])
def test_a_log_too_short_for_the_windows_fails_and_publishes_nothing(
    trained: Trained, tmp_path: Path, num_days: int
) -> None:
    events = trained.shop.history.filter(pl.col(EVENT_TIME) >= CUT - timedelta(days=num_days))
    workspace = ingest_shop(tmp_path, trained.shop.items, events)
    with pytest.raises(DataError, match="ingest a longer log"):
        train(workspace, config=trained.config)
    assert Registry(workspace.registry).pointers().stable is None
