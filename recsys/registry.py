"""The registry: bundles by version, and the pointers that say which one serves."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import BundleError
from recsys.manifest import Manifest, read_manifest
from recsys.workspace import atomic_path

_VERSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Pointers(BaseModel):
    """Which version plays which part."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stable: str | None = None
    canary: str | None = None
    shadow: str | None = None
    previous: str | None = None


@dataclass(frozen=True)
class Entry:
    """One version as the registry finds it."""

    version: str
    pointers: tuple[str, ...]
    """Names of the pointers that lead to it."""
    manifest: Manifest | None
    """``None`` when it cannot be read."""
    damage: str | None
    """Why it cannot be read; ``None`` for a sound manifest."""
    size_bytes: int
    """What its files take on disk."""


@dataclass(frozen=True)
class Registry:
    """A directory of bundles."""

    root: Path

    def path(self, version: str) -> Path:
        """Directory of a version.

        Raises:
            BundleError: The name is none that a version can have.
        """
        if not _VERSION.fullmatch(version):
            raise BundleError(f"a model version has 1 to 64 of a-z, 0-9, '.', '_' and '-', got {version!r}")
        return self.root / "bundles" / version

    def entries(self) -> list[Entry]:
        """Every version with a directory or a pointer to it: oldest first, damaged ones last.

        Raises:
            BundleError: The pointer file is damaged.
        """
        pointers = self.pointers().model_dump(exclude_none=True)
        versions = {path.name for path in (self.root / "bundles").glob("[!.]*") if path.is_dir()}
        entries = [self._entry(version, pointers) for version in sorted(versions | set(pointers.values()))]
        return sorted(entries, key=_age_order)

    def pointers(self) -> Pointers:
        """Which version plays which part.

        Raises:
            BundleError: The pointer file is damaged.
        """
        path = self.root / "pointers.json"
        if not path.exists():
            return Pointers()
        try:
            return Pointers.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise BundleError(
                f"{path.name} of the registry is damaged; restore it, or delete it and train again"
            ) from error

    def stable(self) -> Path:
        """Directory of the version that serves.

        Raises:
            BundleError: There is none yet.
        """
        version = self.pointers().stable
        if version is None:
            place = self.root.parent
            raise BundleError(f"no model has been trained in {place}; run: recsys train --workspace {place}")
        return self.path(version)

    def promote(self, version: str) -> None:
        """Make a version the one that serves; the one before it becomes ``previous``.

        Raises:
            BundleError: There is no such version.
        """
        read_manifest(self.path(version))
        before = self.pointers()
        after = before.model_copy(update={"stable": version, "previous": before.stable})
        with atomic_path(self.root / "pointers.json") as path:
            path.write_text(json.dumps(after.model_dump(), indent=1), encoding="utf-8")

    def _entry(self, version: str, pointers: Mapping[str, str]) -> Entry:
        names = tuple(name for name, target in pointers.items() if target == version)
        files = (path for path in (self.root / "bundles" / version).rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        try:
            return Entry(version, names, read_manifest(self.path(version)), None, size)
        except BundleError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            return Entry(version, names, None, "it has no manifest.json" if missing else str(error), size)


def _age_order(entry: Entry) -> float:
    return entry.manifest.created_time.timestamp() if entry.manifest else math.inf
