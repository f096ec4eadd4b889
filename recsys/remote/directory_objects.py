"""Objects as files of a directory, such as one on a share."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from recsys.errors import ObjectStoreError
from recsys.remote.objects import Stored, asking
from recsys.unfinished import scratch_beside
from recsys.workspace import atomic_path, sync


class DirectoryObjects:
    """Objects as files below a directory, such as a mounted one."""

    def __init__(self, url: str, root: Path) -> None:
        self.url, self._root = url, root

    def list(self, prefix: str) -> dict[str, Stored]:
        """See ``Objects``."""
        found: dict[str, Stored] = {}
        with asking(self.url):
            for path in sorted((self._root / prefix).rglob("*")):
                name = path.relative_to(self._root).as_posix()
                if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
                    stat = path.stat()
                    found[name] = Stored(stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
        return found

    def read(self, name: str) -> bytes:
        """See ``Objects``."""
        with asking(self.url):
            return (self._root / name).read_bytes()

    def download(self, name: str, path: Path) -> None:
        """See ``Objects``."""
        with asking(self.url):
            shutil.copyfile(self._root / name, path)

    def upload(self, path: Path, name: str) -> None:
        """See ``Objects``."""
        with asking(self.url), atomic_path(self._root / name) as partial:
            shutil.copyfile(path, partial)

    def create(self, name: str, content: bytes) -> bool:
        """See ``Objects``; written aside and linked, so that nobody reads half of it, and then on disk."""
        target = self._root / name
        with _creating(self.url):
            target.parent.mkdir(parents=True, exist_ok=True)
            with scratch_beside(target) as scratch:
                (scratch / "content").write_bytes(content)
                sync(scratch / "content")
                try:
                    target.hardlink_to(scratch / "content")
                except FileExistsError:
                    return False
            sync(target.parent)
        return True

    def remove(self, names: Sequence[str]) -> None:
        """See ``Objects``."""
        with asking(self.url):
            for name in names:
                (self._root / name).unlink(missing_ok=True)


@contextmanager
def _creating(url: str) -> Iterator[None]:
    """As ``asking``, where nothing has to be there before."""
    try:
        with asking(url):
            yield
    except FileNotFoundError as error:
        raise ObjectStoreError(
            f"{url} does not do as asked: no directory can be made there; name one on a disk or on a share"
        ) from error
