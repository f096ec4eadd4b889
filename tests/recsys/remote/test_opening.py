import sys
from pathlib import Path

import pytest

from recsys.errors import ConfigError
from recsys.remote.directory_objects import DirectoryObjects
from recsys.remote.opening import open_objects


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("workspace", "expected the URL of a store: s3://BUCKET/PREFIX, gs:// or az://"),
        ("nothing://bucket", "'nothing', which nothing here can keep objects in"),
        ("http://localhost/shop", "expected the URL of a store: .* got the protocol 'http'"),
        ("https://host/shop", "got the protocol 'https'"),
        ("zip://shop", "got the protocol 'zip'"),
        ("local://tmp/shop", "got the protocol 'local'"),
        ("simplecache::memory://shop", "got the protocol 'simplecache'"),
        ("file://tmp/shop", "such as file:///tmp/shop; got 'file://tmp/shop'"),
        ("file://", "such as file:///; got 'file://'"),
        ("file:///", "names no directory"),
        ("s3://key:secret@bucket", "holds no credentials"),
        ("s3://bucket?secret=1", "holds no credentials"),
        ("abfss://container:secret@account.dfs.core.windows.net", "holds no credentials"),
        ("http://[", "expected the URL of a store"),
    ],
)
def test_a_url_that_is_none_of_a_store_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        open_objects(url)
    assert "secret" not in str(caught.value)


def test_a_directory_is_named_from_the_root_on(tmp_path: Path) -> None:
    objects = open_objects(f"file://{tmp_path}/a store")
    assert isinstance(objects, DirectoryObjects)
    assert objects.create("head/1", b"")
    assert (tmp_path / "a store" / "head" / "1").exists()


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "abfss://container@account.dfs.core.windows.net/shop"])
def test_a_cloud_without_its_package_says_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys\[s3\]'"):
        open_objects(url)
