"""A server that asks for a signature starts and swaps with signed models only."""

from pathlib import Path

import pytest

from recsys.errors import BundleError, ConfigError
from recsys.registry import Registry
from recsys.signature import sign_bundle
from recsys.workspace import Workspace
from serving.loading import require_signed
from serving.settings import load_settings
from tests.recsys.test_manifest import write_small_bundle


def test_only_signed_models_are_let_in_where_a_key_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    registry = Registry(workspace.registry)
    for version in ("v1", "v2"):
        write_small_bundle(registry.path(version))
    registry.promote("v1")
    key = tmp_path / "key"
    key.write_text("k" * 40)
    asking = load_settings(require_signature=key)
    require_signed(workspace, load_settings())
    with pytest.raises(BundleError, match="v1 is not signed"):
        require_signed(workspace, asking)
    sign_bundle(registry.path("v1"), b"k" * 40)
    require_signed(workspace, asking)
    with pytest.raises(BundleError, match="v2 is not signed"):
        require_signed(workspace, asking, "v2")
    key.unlink()
    with pytest.raises(ConfigError, match="signature key"):
        require_signed(workspace, asking)
