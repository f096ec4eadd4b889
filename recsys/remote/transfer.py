"""Carries many files between a directory and a store, several at a time, each checked by its digest."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recsys.errors import DataError, ObjectStoreError
from recsys.fault_point import reach
from recsys.remote.head import File
from recsys.remote.objects import Objects
from recsys.remote.units import Content
from recsys.workspace import sync

_AT_ONCE = 8


class MissingObjectError(Exception):
    """The store no longer has what its head names, or named when it was read."""


class ChangedFileError(DataError):
    """A file changed since somebody looked at it, or is damaged: whoever looks again knows which."""


def download(objects: Objects, files: Mapping[str, File], incoming: Path, *, stays: bool = True) -> None:
    """Bring files into a directory, under their paths; those that lie there already are not fetched again.

    Args:
        objects: Where they come from.
        files: What is to be brought, by path.
        incoming: Where they are to lie.
        stays: Whether they are to outlive a power cut.

    Raises:
        MissingObjectError: The store has one no more.
        ObjectStoreError: It holds something else than its head says.
    """
    _each(lambda path: _download(objects, path, files[path], incoming / path, stays), sorted(files))


def upload(objects: Objects, files: Mapping[str, File], root: Path) -> None:
    """Send files.

    Args:
        objects: Where they go.
        files: What is to be sent, by path.
        root: Directory that the paths begin from.

    Raises:
        ChangedFileError: A file does not hold what it should.
    """
    _each(lambda path: _upload(objects, path, files[path], root / path), sorted(files))


def _each(carry: Callable[[str], None], paths: Iterable[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(carry, path) for path in paths]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()


def _download(objects: Objects, path: str, file: File, target: Path, stays: bool) -> None:
    wanted = Content(sha256=file.sha256, size=file.size)
    if target.is_file() and Content.of(target) == wanted:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not file.size:
        target.write_bytes(b"")
        return
    try:
        objects.download(file.object_name(path), target)
    except FileNotFoundError as error:
        raise MissingObjectError(path) from error
    if Content.of(target) != wanted:
        target.unlink()
        raise ObjectStoreError(
            f"{objects.url} holds something else than was pushed as {file.object_name(path)}; remove that "
            "object, then push it again from a machine that has it"
        )
    if stays:
        sync(target)
    reach("remote-downloaded")


def _upload(objects: Objects, path: str, file: File, source: Path) -> None:
    mark = _mark(source)
    if Content.of(source) != Content(sha256=file.sha256, size=file.size):
        raise ChangedFileError(f"{source} is not as it was written; restore it from a backup, or pull it")
    objects.upload(source, file.object_name(path))
    if _mark(source) != mark:
        raise ChangedFileError(f"{source} was written while it was sent; push again")
    reach("remote-uploaded")


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise ChangedFileError(f"{path} went while it was to be sent; push again") from error
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
