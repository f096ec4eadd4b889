"""Named bytes in an object store, by its URL: any file system of fsspec, or a cloud's, see ``cloud``."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from recsys.errors import ConfigError, ObjectStoreError
from recsys.unfinished import scratch_beside
from recsys.workspace import atomic_path, sync

_PROBE = "head/probe"
_TIMES = ("LastModified", "last_modified", "mtime", "created")


@dataclass(frozen=True)
class Stored:
    """One object."""

    size: int
    """Bytes."""
    modified: datetime
    """When it was written, by the store's clock, UTC."""


@runtime_checkable
class Objects(Protocol):
    """Objects below one URL; any thread may call any method.

    All methods raise ``ObjectStoreError`` when the store does not do as asked; its message holds no secret.
    """

    url: str

    def list(self, prefix: str) -> dict[str, Stored]:
        """The objects whose names begin with ``prefix/``, by name."""

    def read(self, name: str) -> bytes:
        """An object's bytes.

        Raises:
            FileNotFoundError: There is no such object.
        """

    def download(self, name: str, path: Path) -> None:
        """Write an object to a file; raises as ``read``."""

    def upload(self, path: Path, name: str) -> None:
        """Write a file to an object."""

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one of that name; whether it was written."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, which need not be there."""


def open_objects(url: str) -> Objects:
    """Find a store by its URL; nothing is asked of it yet.

    Args:
        url: ``s3://BUCKET/PREFIX``, ``gs://``, ``az://`` with the extra ``s3``; ``file:///DIRECTORY``; or any
            other URL whose protocol an installed package brings to fsspec.

    Raises:
        ConfigError: It is no such URL, or what it needs is not installed.
    """
    from recsys.remote.cloud import CLOUDS, open_cloud

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(_expected("something that is no URL")) from error
    if not parts.scheme or "://" not in url:
        raise ConfigError(_expected("something without ://"))
    if parts.username or parts.password or parts.query:
        raise ConfigError("the URL of a store holds no credentials and no options; see docs/distributed.md")
    if parts.scheme in CLOUDS:
        return open_cloud(url)
    return _of_fsspec(url, parts.scheme)


def _expected(got: str) -> str:
    return f"expected the URL of a store such as s3://BUCKET/PREFIX or file:///DIRECTORY, got {got}"


def _of_fsspec(url: str, scheme: str) -> Objects:
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{scheme}:// needs a package that is not installed: {error}") from error
    except ValueError as error:
        raise ConfigError(_expected(f"the protocol {scheme!r}, which nothing here knows")) from error
    if scheme == "file":
        return DirectoryObjects(url, Path(root))
    return FsspecObjects(url, system, root)


def require_create_once(objects: Objects) -> None:
    """Make sure that the store refuses to create what is there: two pushes at once depend on it.

    Raises:
        ObjectStoreError: It does not, or cannot be reached.
    """
    if objects.create(_PROBE, b"") and objects.create(_PROBE, b""):
        raise ObjectStoreError(
            f"{objects.url} overwrites what is to be created once (If-None-Match), so two machines could "
            "undo each other's work; use a store, or a version of it, that knows conditional writes"
        )


class DirectoryObjects:
    """Objects as files below a directory, such as a mounted one."""

    def __init__(self, url: str, root: Path) -> None:
        self.url, self._root = url, root

    def list(self, prefix: str) -> dict[str, Stored]:
        """See ``Objects``."""
        found: dict[str, Stored] = {}
        with _asking(self.url):
            for path in sorted((self._root / prefix).rglob("*")):
                name = path.relative_to(self._root).as_posix()
                if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
                    stat = path.stat()
                    found[name] = Stored(stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
        return found

    def read(self, name: str) -> bytes:
        """See ``Objects``."""
        with _asking(self.url):
            return (self._root / name).read_bytes()

    def download(self, name: str, path: Path) -> None:
        """See ``Objects``."""
        with _asking(self.url):
            shutil.copyfile(self._root / name, path)

    def upload(self, path: Path, name: str) -> None:
        """See ``Objects``."""
        with _asking(self.url), atomic_path(self._root / name) as partial:
            shutil.copyfile(path, partial)

    def create(self, name: str, content: bytes) -> bool:
        """See ``Objects``; written aside and linked, so that nobody reads half of it, and then on disk."""
        target = self._root / name
        with _asking(self.url):
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
        with _asking(self.url):
            for name in names:
                (self._root / name).unlink(missing_ok=True)


class FsspecObjects:
    """Objects of a file system that fsspec knows."""

    def __init__(self, url: str, system: Any, root: str) -> None:  # noqa: ANN401  # fsspec has no types
        self.url, self._system, self._root = url, system, root.rstrip("/")

    def list(self, prefix: str) -> dict[str, Stored]:
        """See ``Objects``."""
        with _asking(self.url):
            found = self._system.find(self._path(prefix), detail=True)
        cut = len(self._root) + 1
        return {path[cut:]: Stored(about["size"], _modified(about)) for path, about in found.items()}

    def read(self, name: str) -> bytes:
        """See ``Objects``."""
        with _asking(self.url):
            return bytes(self._system.cat_file(self._path(name)))

    def download(self, name: str, path: Path) -> None:
        """See ``Objects``."""
        with _asking(self.url):
            self._system.get_file(self._path(name), str(path))

    def upload(self, path: Path, name: str) -> None:
        """See ``Objects``."""
        with _asking(self.url):
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(path), self._path(name))

    def create(self, name: str, content: bytes) -> bool:
        """See ``Objects``."""
        with _asking(self.url):
            self._system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            try:
                self._system.pipe_file(self._path(name), content, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, names: Sequence[str]) -> None:
        """See ``Objects``."""
        with _asking(self.url):
            for name in names:
                with suppress(FileNotFoundError):
                    self._system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def _asking(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ObjectStoreError(f"{url} does not do as asked: {error.strerror or type(error).__name__}") from (
            error
        )


def _modified(about: Mapping[str, Any]) -> datetime:
    """When an object was written; the time now where the file system does not say."""
    found = next((about[name] for name in _TIMES if name in about), None)
    if isinstance(found, datetime):
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.now(UTC) if found is None else datetime.fromtimestamp(found, UTC)
