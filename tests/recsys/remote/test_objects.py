import os
import sys
from pathlib import Path

import pytest

from recsys.errors import ConfigError, ObjectStoreError
from recsys.remote.head import File, Head, publish_head, read_head
from recsys.remote.objects import DirectoryObjects, open_objects


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("workspace", "expected the URL of a store"),
        ("nothing://bucket", "'nothing', which nothing here knows"),
        ("s3://key:secret@bucket", "holds no credentials"),
        ("s3://bucket?secret=1", "holds no credentials"),
        ("http://[", "expected the URL of a store"),
    ],
)
def test_a_url_that_is_none_of_a_store_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        open_objects(url)
    assert "secret" not in str(caught.value)


def test_a_cloud_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys\[s3\]'"):
        open_objects("s3://bucket/prefix")


@pytest.mark.parametrize("url", ["memory://objects", "file://{}/store"])
def test_an_object_is_created_once_and_read_back(url: str, tmp_path: Path) -> None:
    objects = open_objects(url.format(tmp_path))
    assert objects.list("data") == {}
    assert objects.create("data/a/b", b"one")
    assert not objects.create("data/a/b", b"two")
    (tmp_path / "file").write_bytes(b"three")
    objects.upload(tmp_path / "file", "data/c")
    assert {name: found.size for name, found in objects.list("data").items()} == {"data/a/b": 3, "data/c": 5}
    objects.download("data/c", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"three"
    assert objects.read("data/a/b") == b"one"
    objects.remove(["data/a/b", "data/none"])
    with pytest.raises(FileNotFoundError):
        objects.read("data/a/b")
    objects.remove(["data/c"])


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


@pytest.mark.parametrize("path", ["../../etc/passwd", "registry/../events/x", "/etc/passwd", "items/x"])
def test_a_store_cannot_make_a_workspace_write_elsewhere(tmp_path: Path, path: str) -> None:
    objects = DirectoryObjects("file:///store", tmp_path)
    file = File(sha256="0" * 64, size=1, push="p-1")
    publish_head(objects, Head(number=1, units={"users": {path: file}}))
    with pytest.raises(ObjectStoreError, match="damaged"):
        read_head(objects)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x1f\x8b\x08broken"])
def test_a_head_that_cannot_be_read_is_an_error_that_says_so(tmp_path: Path, content: bytes) -> None:
    objects = DirectoryObjects("file:///store", tmp_path)
    objects.create("head/000000000001.json.gz", content)
    with pytest.raises(ObjectStoreError, match="head 1 of file:///store is damaged"):
        read_head(objects)
