"""Named bytes in an object store: what is asked of one, and how it says that it does not do as asked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from recsys.errors import ObjectStoreError

_PROBE = "head/probe"


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


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Raise what a file system raises as an error of the store; but what is not there is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, NotImplementedError, ValueError) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise ObjectStoreError(f"{url} does not do as asked: {problem}") from error
