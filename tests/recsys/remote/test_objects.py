from pathlib import Path

import pytest

from recsys.remote.opening import open_objects


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
