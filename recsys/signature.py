"""A bundle's signature: who may write to a registry is one thing, who may decide what serves another.

The manifest holds the hash of every file, so a signature of the manifest is one of the bundle. It is an
HMAC-SHA256 under a key that is kept out of the workspace: whoever can write bundles but does not have the key
cannot make one that is taken. Whoever verifies has the key and could sign as well.

Source: Krawczyk, Bellare and Canetti, RFC 2104.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from recsys.errors import BundleError, ConfigError
from recsys.manifest import MANIFEST, SIGNATURE, read_manifest, verify_files
from recsys.workspace import atomic_path

FEWEST_KEY_BYTES: Final = 32
_CONTEXT: Final = b"recsys bundle 1\n"
_SCHEME: Final = "hmac-sha256"


def read_key(path: Path) -> bytes:
    """Read a key from its file: any bytes, but for white space around them.

    Raises:
        ConfigError: It cannot be read, or is too short.
    """
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"the signature key {path} cannot be read: {error.strerror}") from error
    if len(key) < FEWEST_KEY_BYTES:
        raise ConfigError(
            f"the signature key {path} has {len(key)} bytes, expected {FEWEST_KEY_BYTES} or more; "
            f"make one: openssl rand -hex {FEWEST_KEY_BYTES} > {path}"
        )
    return key


def sign_bundle(directory: Path, key: bytes) -> None:
    """Verify a bundle's files, and write a signature beside its manifest.

    Raises:
        BundleError: The bundle does not verify, so there is nothing to sign.
    """
    verify_files(directory, read_manifest(directory))
    with atomic_path(directory / SIGNATURE) as path:
        path.write_text(_signature(directory, key) + "\n", encoding="ascii")


def require_signature(directory: Path, key: bytes) -> None:
    """Refuse a bundle that is not signed with a key.

    Raises:
        UnknownModelError: There is no such bundle.
        BundleError: It has no signature, or another one.
    """
    read_manifest(directory)
    try:
        found = (directory / SIGNATURE).read_bytes().strip()
    except OSError as error:
        raise BundleError(
            f"bundle {directory.name} is not signed; look at it, then: recsys models sign {directory.name}"
        ) from error
    if not hmac.compare_digest(found, _signature(directory, key).encode("ascii")):
        raise BundleError(
            f"bundle {directory.name} is signed with another key, or was changed after it was signed; "
            "do not let it serve before you know which"
        )


def _signature(directory: Path, key: bytes) -> str:
    code = hmac.new(key, _CONTEXT + (directory / MANIFEST).read_bytes(), hashlib.sha256)
    return f"{_SCHEME} {code.hexdigest()}"
