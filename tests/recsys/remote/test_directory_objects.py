import os
from pathlib import Path

import pytest

from recsys.errors import ObjectStoreError
from recsys.remote.directory_objects import DirectoryObjects


def test_what_was_created_in_a_directory_is_on_disk_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, (tmp_path / "head" / "1").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert DirectoryObjects("file:///store", tmp_path).create("head/1", b"one")
    assert synced == [("content", False), ("head", True)]


def test_a_directory_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(ObjectStoreError, match="does not do as asked"):
        DirectoryObjects("file:///store", tmp_path / "store").create("head/1", b"")


def test_a_place_where_no_directory_can_be_made_is_an_error_that_says_so() -> None:
    objects = DirectoryObjects("file:///proc/shop", Path("/proc/shop"))
    with pytest.raises(ObjectStoreError, match=r"no directory can be made there; name one on a disk"):
        objects.create("head/1", b"")
