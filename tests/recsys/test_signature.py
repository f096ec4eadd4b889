import json
from pathlib import Path

import pytest

from recsys.errors import BundleError, ConfigError
from recsys.manifest import read_manifest, verify_files
from recsys.signature import read_key, require_signature, sign_bundle
from tests.recsys.test_manifest import write_small_bundle

KEY = b"k" * 32


def test_a_signed_bundle_is_taken_and_still_verifies(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "v1")
    sign_bundle(tmp_path / "v1", KEY)
    require_signature(tmp_path / "v1", KEY)
    verify_files(tmp_path / "v1", read_manifest(tmp_path / "v1"))


def test_an_unsigned_bundle_is_refused_with_the_command_that_signs_it(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "v1")
    with pytest.raises(BundleError, match=r"not signed.*recsys models sign v1"):
        require_signature(tmp_path / "v1", KEY)


def test_a_changed_manifest_or_another_key_is_refused(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "v1")
    sign_bundle(tmp_path / "v1", KEY)
    with pytest.raises(BundleError, match="another key"):
        require_signature(tmp_path / "v1", b"l" * 32)
    path = tmp_path / "v1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"libraries": {}}))
    with pytest.raises(BundleError, match="changed after it was signed"):
        require_signature(tmp_path / "v1", KEY)


def test_what_does_not_verify_is_not_signed(tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "v1")
    (tmp_path / "v1" / "ranker.txt").write_text("jello")
    with pytest.raises(BundleError, match="recorded hash"):
        sign_bundle(tmp_path / "v1", KEY)


@pytest.mark.parametrize("content", [b"", b"short\n", b" " * 64])
def test_a_short_key_is_refused_with_the_command_that_makes_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match="openssl rand"):
        read_key(tmp_path / "key")
