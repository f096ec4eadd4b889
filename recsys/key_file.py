"""A secret key that is made once and kept in a file which only its owner reads."""

import os
import secrets
from pathlib import Path

from recsys.errors import ConfigError

KEY_BYTES = 32
"""Bytes of a key; the file holds them as hexadecimal digits."""


def read_key(path: Path) -> bytes:
    """The key that a file holds.

    Raises:
        ConfigError: There is no such file, or it holds no key.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"the key {path} cannot be read: {error}; bring it back from a backup") from error
    if len(key) < KEY_BYTES // 2:
        raise ConfigError(f"{path} holds no key; expected {2 * KEY_BYTES} hexadecimal digits")
    return key


def own_key(path: Path) -> bytes:
    """The key that a file holds, made when there is no file; of two processes that make it one wins.

    Raises:
        ConfigError: The file cannot be made, or holds no key.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be made: {error}; see that it is writable") from error
    return read_key(path)


def _make(path: Path) -> None:
    """Write a whole key beside ``path`` and link it there; whoever comes second keeps the first one's."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _link(partial, path)
    finally:
        partial.unlink()


def _link(partial: Path, path: Path) -> None:
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return
