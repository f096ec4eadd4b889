"""Objects of a file system that fsspec knows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.remote.objects import Stored, asking

_TIMES = ("LastModified", "last_modified", "mtime", "created")


class FsspecObjects:
    """Objects of a file system that fsspec knows."""

    def __init__(self, url: str, system: Any, root: str) -> None:  # noqa: ANN401  # fsspec has no types
        self.url, self._system, self._root = url, system, root.rstrip("/")

    def list(self, prefix: str) -> dict[str, Stored]:
        """See ``Objects``."""
        with asking(self.url):
            found = self._system.find(self._path(prefix), detail=True)
        cut = len(self._root) + 1
        return {path[cut:]: Stored(about["size"], _modified(about)) for path, about in found.items()}

    def read(self, name: str) -> bytes:
        """See ``Objects``."""
        with asking(self.url):
            return bytes(self._system.cat_file(self._path(name)))

    def download(self, name: str, path: Path) -> None:
        """See ``Objects``."""
        with asking(self.url):
            self._system.get_file(self._path(name), str(path))

    def upload(self, path: Path, name: str) -> None:
        """See ``Objects``."""
        with asking(self.url):
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(path), self._path(name))

    def create(self, name: str, content: bytes) -> bool:
        """See ``Objects``."""
        with asking(self.url):
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            try:
                self._system.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, names: Sequence[str]) -> None:
        """See ``Objects``."""
        with asking(self.url):
            for name in names:
                with suppress(FileNotFoundError):
                    self._system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _modified(about: Mapping[str, Any]) -> datetime:
    """When an object was written; the time now where the file system does not say."""
    found = next((about[name] for name in _TIMES if name in about), None)
    if isinstance(found, datetime):
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.now(UTC) if found is None else datetime.fromtimestamp(found, UTC)
