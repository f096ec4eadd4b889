import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.config import Config
from recsys.errors import BundleError
from recsys.manifest import FileEntry, Manifest, new_version, read_manifest, verify_files

HELLO = FileEntry(sha256="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", size=5)
"""The entry of a file that holds the five letters of hello."""


def write_small_bundle(
    directory: Path,
    *,
    created: datetime = datetime(2024, 5, 2, 8, 30, tzinfo=UTC),
    parent: str | None = None,
    metrics: dict[str, float] | None = None,
) -> Manifest:
    """A bundle of two files of five bytes, sound by its manifest; it holds no model."""
    (directory / "items").mkdir(parents=True)
    for name in ("ranker.txt", "items/vectors.i8"):
        (directory / name).write_text("hello", encoding="utf-8")
    manifest = Manifest(
        version=directory.name,
        parent_version=parent,
        created_time=created,
        data_from=datetime(2023, 1, 1, tzinfo=UTC),
        fitted_until=datetime(2024, 5, 1, tzinfo=UTC),
        parts_fitted_until_ms={"encoder": 1_714_521_600_000},
        feature_names=("price",),
        feature_fingerprint="f" * 64,
        config=Config(),
        metrics=metrics or {},
        libraries={"torch": "2.13.0"},
        canary_inputs=[[1.0], [None]],
        canary_scores={"all": [0.5, -0.5]},
        files={"ranker.txt": HELLO, "items/vectors.i8": HELLO},
    )
    (directory / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return manifest


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = write_small_bundle(tmp_path / "v1", parent="v0", metrics={"loss": 0.25})
    assert read_manifest(tmp_path / "v1") == written


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle 'v9'.*recsys models list"):
        read_manifest(tmp_path / "v9")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": "v1", "more": 1}', b"\xff\xfe"])
def test_a_damaged_manifest_is_a_bundle_error(tmp_path: Path, content: bytes) -> None:
    write_small_bundle(tmp_path / "v1")
    (tmp_path / "v1" / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="manifest of bundle 'v1' cannot be read"):
        read_manifest(tmp_path / "v1")


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "v1")
    path = tmp_path / "v1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_version": 1}))
    with pytest.raises(BundleError, match="schema version 1, this code reads 2"):
        read_manifest(tmp_path / "v1")


def test_files_that_match_the_manifest_verify(tmp_path: Path) -> None:
    manifest = write_small_bundle(tmp_path / "v1")
    verify_files(tmp_path / "v1", manifest)


def test_a_missing_file_does_not_verify(tmp_path: Path) -> None:
    manifest = write_small_bundle(tmp_path / "v1")
    (tmp_path / "v1" / "items" / "vectors.i8").unlink()
    with pytest.raises(BundleError, match=r"missing or added.*items/vectors\.i8"):
        verify_files(tmp_path / "v1", manifest)


def test_an_added_file_does_not_verify(tmp_path: Path) -> None:
    manifest = write_small_bundle(tmp_path / "v1")
    (tmp_path / "v1" / "extra.txt").touch()
    with pytest.raises(BundleError, match=r"missing or added.*extra\.txt"):
        verify_files(tmp_path / "v1", manifest)


@pytest.mark.parametrize("content", ["jello", "hell", "hello again"])
def test_a_changed_file_does_not_verify(tmp_path: Path, content: str) -> None:
    manifest = write_small_bundle(tmp_path / "v1")
    (tmp_path / "v1" / "ranker.txt").write_text(content, encoding="utf-8")
    with pytest.raises(BundleError, match=r"ranker\.txt does not match its recorded hash"):
        verify_files(tmp_path / "v1", manifest)


def test_the_end_of_the_data_is_told_in_milliseconds(tmp_path: Path) -> None:
    assert write_small_bundle(tmp_path / "v1").fitted_until_ms == 1_714_521_600_000  # 2024-05-01T00:00Z


def test_later_data_and_then_later_making_sort_a_version_behind() -> None:
    may, june = (datetime(2024, month, 1, tzinfo=UTC) for month in (5, 6))
    versions = [new_version(may, june), new_version(may, june.replace(microsecond=1)), new_version(june, may)]
    assert versions == sorted(versions)
    assert versions[0] == "20240501-20240601-000000-000000"


def test_a_manifest_is_read_without_any_model_library() -> None:
    code = "import sys, recsys.registry; print(*{'torch', 'lightgbm', 'polars', 'faiss'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


@pytest.mark.parametrize("name", ["encoder/pytorch_model.bin", "weights.PT", "model.pkl", "code.py"])
def test_files_that_may_run_code_are_refused_by_their_type(tmp_path: Path, name: str) -> None:
    manifest = write_small_bundle(tmp_path / "v1")
    with pytest.raises(BundleError, match="may run code"):
        verify_files(tmp_path / "v1", manifest.model_copy(update={"files": manifest.files | {name: HELLO}}))


@pytest.mark.parametrize(
    "changes",
    [
        {"canary_inputs": [], "canary_scores": {"all": []}},
        {"canary_inputs": [[1.0], [1.0, 2.0]]},
        {"canary_scores": {}},
        {"canary_scores": {"all": [0.5]}},
        {"canary_scores": {"all": [0.5, -0.5], "../../model": [0.5, -0.5]}},
    ],
)
def test_a_manifest_without_a_whole_canary_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    write_small_bundle(tmp_path / "v1")
    path = tmp_path / "v1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))
    with pytest.raises(BundleError, match="canary"):
        read_manifest(tmp_path / "v1")
