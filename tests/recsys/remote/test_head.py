from pathlib import Path

import pytest

from recsys.errors import ObjectStoreError
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.head import File, Head, publish_head, read_head


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
