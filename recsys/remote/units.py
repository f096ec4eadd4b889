"""What changes as one, here and in a store: a unit is a few files that are of no use without each other.

=====================  ======================================================================================
``log/NAME``           an append to the event log: its commit and what that lists
``layout``             how the next appends are cut
``items``, ``users``   the current generation of a table
``lists/DAY/NAME``     a file of served lists
``bundle/VERSION``     a model
``record/PATH``        a file below the registry: decisions, experiments
``pointers``           which model serves
=====================  ======================================================================================
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict

Kind: TypeAlias = Literal["log", "layout", "items", "users", "lists", "bundle", "record", "pointers"]
Part: TypeAlias = Literal["data", "models"]
"""What may travel alone: what models are made of, or the models."""

_PLACES: Final[dict[str, str]] = {
    "log": "events/",
    "layout": "events/_layout.json",
    "items": "items/",
    "users": "users/",
    "lists": "served_lists/",
    "bundle": "registry/bundles/",
    "record": "registry/",
    "pointers": "registry/pointers.json",
}
_MODELS = {"bundle", "record", "pointers"}


class Content(BaseModel):
    """What a file holds."""

    model_config = ConfigDict(frozen=True)
    sha256: str
    size: int
    """Bytes."""

    @classmethod
    def of(cls, path: Path) -> "Content":
        """Read a file.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(sha256=digest, size=file.tell())

    @classmethod
    def of_bytes(cls, content: bytes) -> "Content":
        """What a file holds that is to be written."""
        return cls(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


Unit: TypeAlias = dict[str, Content]
"""Its files, by their paths within a workspace."""
SET_ASIDE: Final = Content(sha256="", size=0)
"""What a file of an append holds that was damaged and is no longer here; a store has no such files."""
Units: TypeAlias = Mapping[str, Unit]
"""Units by name."""


def kind_of(name: str) -> Kind:
    """What a unit of this name is.

    Raises:
        ValueError: Nothing has such a name.
    """
    kind: Kind
    for kind in get_args(Kind):
        if name.partition("/")[0] == kind:
            return kind
    raise ValueError(f"no unit is called {name!r}")


def is_of(name: str, parts: Iterable[Part]) -> bool:
    """Whether a unit is one of these parts."""
    return ("models" if kind_of(name) in _MODELS else "data") in parts


def check_places(name: str, paths: Iterable[str]) -> None:
    """Refuse a unit whose files would lie elsewhere than such a unit's do.

    Raises:
        ValueError: They would.
    """
    kind = kind_of(name)
    for path in paths:
        parts = PurePosixPath(path).parts
        if not path.startswith(_PLACES[kind]) or ".." in parts or "\\" in path or "\0" in path:
            raise ValueError(f"a unit {name!r} cannot have a file {path!r}")


def commit_path(append: str) -> str:
    """Where the commit of an append lies."""
    return f"events/_commits/{append}.json"
