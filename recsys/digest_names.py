"""A directory of empty files, each named by a keyed hash of somebody's id: a durable set that names nobody.

Several processes share it: one that adds or removes a name is seen by the others at their next look. Names
are only as secret as the key, which lies beside the directory.
"""

import hmac
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from recsys.errors import ConfigError, DataError
from recsys.key_file import own_key, read_key
from recsys.workspace import sync

DIRECTORY = "privacy"
"""Name of the directory in a workspace that holds such directories and their key."""

KEY_FILE = "digests.key"
"""Name of the file with their key in that directory."""
_DIGEST_CHARS = 64
_SETTLED_NS = 1_000_000_000
"""Age of a directory's time stamp from which a later change is sure to give it another."""


class DigestNames:
    """Names with a number each, read again when there are others; any thread may call any method."""

    def __init__(self, workspace: Path, name: str) -> None:
        """Args: ``workspace``, its root, where nothing need exist yet; ``name`` of the directory."""
        self._directory = workspace / DIRECTORY / name
        self._key_path = workspace / DIRECTORY / KEY_FILE
        self._key = b""
        self._seen: tuple[int, int] | None = None
        self._found: tuple[dict[str, int], int] = ({}, 0)

    def add(self, subjects: Mapping[str, int]) -> None:
        """Add people, each with a number; they are on disk when this returns.

        Raises:
            ConfigError: The key cannot be made or read.
            OSError: They cannot be written.
        """
        self._key = self._key or own_key(self._key_path)
        self._directory.mkdir(parents=True, exist_ok=True)
        for subject, number in subjects.items():
            path = self._directory / f"{self._digest(subject)}-{number}"
            path.touch()
            sync(path)
        for directory in (self._directory, *list(self._directory.parents)[:2]):
            sync(directory)
        self._seen = None

    def remove(self, subject: str) -> None:
        """Remove somebody, who need not be there."""
        self._refresh()
        if self._key:
            for path in self._directory.glob(f"{self._digest(subject)}-*"):
                path.unlink(missing_ok=True)
            sync(self._directory)
            self._seen = None

    def get(self, subject: str) -> int:
        """The highest number of somebody, -1 for somebody who is not there.

        Raises:
            ConfigError: There are names, and their key is gone.
            DataError: Something else lies in the directory.
        """
        self._refresh()
        found = self._found[0]
        return found.get(self._digest(subject), -1) if found else -1

    def as_of_now(self) -> Callable[[str], int]:
        """``get`` as it answers now, whatever is added later; raises as ``get``."""
        self._refresh()
        found = self._found[0]
        return lambda subject: found.get(self._digest(subject), -1) if found else -1

    def __len__(self) -> int:
        """How many names there are; raises as ``get``."""
        self._refresh()
        return self._found[1]

    def look_again(self) -> None:
        """See names that other machines added: to open a directory asks a network file system's server."""
        if self._directory.is_dir():
            os.close(os.open(self._directory, os.O_RDONLY))
        self._seen = None

    def _refresh(self) -> None:
        try:
            stat = self._directory.stat()
        except FileNotFoundError:
            return
        mark = stat.st_ino, stat.st_mtime_ns
        if mark == self._seen:
            return
        found: dict[str, int] = {}
        names = os.listdir(self._directory)  # noqa: PTH208  # a Path per name takes ten times as long
        for name in names:
            digest, _, number = name.partition("-")
            if len(digest) != _DIGEST_CHARS or not number.isdigit():
                raise DataError(f"{self._directory} holds a file that does not belong there; move it away")
            found[digest] = max(found.get(digest, -1), int(number))
        if names and not self._key:
            self._key = self._read_key()
        self._found = found, len(names)
        self._seen = mark if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS else None

    def _read_key(self) -> bytes:
        try:
            return read_key(self._key_path)
        except ConfigError as error:
            raise ConfigError(f"without its key nobody can tell whom {self._directory} names: {error}") from (
                error
            )

    def _digest(self, subject: str) -> str:
        return hmac.digest(self._key, subject.encode(), "sha256").hex()
