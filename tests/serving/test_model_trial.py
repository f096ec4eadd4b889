"""A bundle's trial in a process of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import BundleError
from recsys.registry import Registry
from serving.model_trial import ask_bundle, try_bundle
from tests.conftest import Trained
from tests.faults.bundle_mutations import refresh_manifest


@pytest.fixture(scope="module")
def bundle(trained: Trained) -> Path:
    return Registry(trained.workspace.registry).path(trained.version)


def copy_of(bundle: Path, directory: Path) -> Path:
    return Path(shutil.copytree(bundle, directory / bundle.name))


def test_a_whole_bundle_answers_from_every_placement(bundle: Path) -> None:
    ask_bundle(bundle)


def test_an_encoder_that_cannot_be_read_is_refused_though_its_hash_is_right(
    bundle: Path, tmp_path: Path
) -> None:
    copy = copy_of(bundle, tmp_path)
    (copy / "encoder" / "model.safetensors").write_bytes(b"nonsense")
    refresh_manifest(copy)
    with pytest.raises(BundleError, match="can read no text"):
        ask_bundle(copy)


def test_what_does_not_verify_starts_no_process(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    copy = copy_of(bundle, tmp_path)
    (copy / "ranker.txt").write_bytes(b"tree\nversion=v4\n")
    with pytest.raises(BundleError, match="recorded hash"):
        try_bundle(copy)
    refresh_manifest(copy)
    with pytest.raises(BundleError, match="LightGBM"):
        try_bundle(copy)


def test_a_trial_does_not_wait_for_ever(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"more than 0\.01 s"):
        try_bundle(bundle, seconds=0.01)


def test_a_child_that_crashes_or_refuses_is_told_apart(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for script, told in (
        ("import os; os.kill(os.getpid(), 11)", "crashes the process.*SIGSEGV"),
        ("import sys; print('it has no rows', file=sys.stderr); sys.exit(3)", "^it has no rows$"),
        ("raise IndexError('beyond')", "cannot be used: IndexError: beyond"),
    ):
        fake = tmp_path / "python"
        fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}"\n')
        fake.chmod(0o700)
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(fake))
            with pytest.raises(BundleError, match=told):
                try_bundle(bundle)
