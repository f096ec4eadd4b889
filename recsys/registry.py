"""The registry: bundles by version, and the pointers that say which one serves."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import BundleError, ModelConflictError, UnknownModelError
from recsys.file_lock import exclusive
from recsys.manifest import Manifest, read_manifest
from recsys.workspace import atomic_path

PARTS = ("stable", "canary", "shadow", "previous")
"""What a version can be pointed at as."""
Part: TypeAlias = Literal["stable", "canary", "shadow"]
"""What a version can be made: it serves, serves a share of the users, or scores along unseen."""
POINTERS = "pointers.json"
"""Name of the pointer file."""

_VERSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Pointers(BaseModel):
    """Which version plays which part."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stable: str | None = None
    canary: str | None = None
    shadow: str | None = None
    previous: str | None = None
    canary_percent: float = Field(default=0.0, ge=0.0, le=100.0)
    """Share of the users whom the canary answers, in percent."""

    def targets(self) -> dict[str, str]:
        """Versions by the pointers that lead somewhere."""
        return {part: version for part in PARTS if (version := getattr(self, part)) is not None}

    def pointing(self, part: Part, version: str | None, canary_percent: float | None) -> "Pointers":
        """The pointers with another version in a part; what becomes stable is no canary and no shadow."""
        update: dict[str, object] = {part: version}
        if part == "stable":
            update |= {"previous": self.stable} if version != self.stable else {}
            update |= {other: None for other in ("canary", "shadow") if self.targets().get(other) == version}
        if part == "canary" and canary_percent is not None:
            update["canary_percent"] = canary_percent
        after = self.model_copy(update=update)
        return after if after.canary else after.model_copy(update={"canary_percent": 0.0})


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
            UnknownModelError: The name is none that a version can have.
        """
        if not _VERSION.fullmatch(version):
            raise UnknownModelError(
                f"a model version has 1 to 64 of a-z, 0-9, '.', '_' and '-', got {version!r}"
            )
        return self.root / "bundles" / version

    def entries(self) -> list[Entry]:
        """Every version with a directory or a pointer to it: oldest first, damaged ones last.

        Raises:
            BundleError: The pointer file is damaged.
        """
        pointers = self.pointers().targets()
        versions = {path.name for path in (self.root / "bundles").glob("[!.]*") if path.is_dir()}
        entries = [self._entry(version, pointers) for version in sorted(versions | set(pointers.values()))]
        return sorted(entries, key=_age_order)

    def pointers(self) -> Pointers:
        """Which version plays which part.

        Raises:
            BundleError: The pointer file is damaged.
        """
        path = self.root / POINTERS
        if not path.exists():
            return Pointers()
        try:
            return Pointers.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise BundleError(
                f"{path.name} of the registry is damaged; restore it, or delete it and train again"
            ) from error

    def require(self, version: str) -> Manifest:
        """The manifest of a version.

        Raises:
            UnknownModelError: There is no such version, or the name is none that a version can have.
            BundleError: Its manifest is damaged, or another version's.
        """
        manifest = read_manifest(self.path(version))
        if manifest.version != version:
            raise BundleError(
                f"bundle {version!r} says that it is {manifest.version!r}; call its directory so again"
            )
        return manifest

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
        self.activate("stable", version)

    def activate(
        self,
        part: Part,
        version: str | None,
        *,
        canary_percent: float | None = None,
        expected_stable: str | None = None,
    ) -> Pointers:
        """Point a part at a version.

        Args:
            part: What the version becomes.
            version: The version; ``None`` clears a canary or a shadow.
            canary_percent: Share of the users whom a canary answers, 0 to 100; unchanged when absent.
            expected_stable: Change nothing when another version serves than this one.

        Returns:
            The pointers as they are now.

        Raises:
            UnknownModelError: There is no such version.
            BundleError: Its manifest, or the pointer file, is damaged; or nothing would be left to serve.
            ModelConflictError: Another version serves than was expected.
        """
        if version is not None:
            self.require(version)
        elif part == "stable":
            raise BundleError("one model has to serve; name a version")
        with exclusive(self.root / f".{POINTERS}.lock"):
            before = self.pointers()
            _expect(before, expected_stable)
            return self._point(before.pointing(part, version, canary_percent))

    def rollback(self, *, expected_stable: str | None = None) -> Pointers:
        """Let the previous version serve again; it changes places with the one that serves.

        Args:
            expected_stable: Change nothing when another version serves than this one.

        Raises:
            UnknownModelError: There is no version before this one.
            BundleError: Its manifest, or the pointer file, is damaged.
            ModelConflictError: Another version serves than was expected.
        """
        with exclusive(self.root / f".{POINTERS}.lock"):
            before = self.pointers()
            _expect(before, expected_stable)
            if before.previous is None:
                raise UnknownModelError("no model served before this one, so there is none to go back to")
            self.require(before.previous)
            return self._point(before.pointing("stable", before.previous, None))

    def _point(self, after: Pointers) -> Pointers:
        with atomic_path(self.root / POINTERS) as path:
            path.write_text(json.dumps(after.model_dump(), indent=1), encoding="utf-8")
        return after

    def _entry(self, version: str, pointers: Mapping[str, str]) -> Entry:
        names = tuple(name for name, target in pointers.items() if target == version)
        files = (path for path in (self.root / "bundles" / version).rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        try:
            return Entry(version, names, self.require(version), None, size)
        except BundleError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            return Entry(version, names, None, "it has no manifest.json" if missing else str(error), size)


def _age_order(entry: Entry) -> float:
    return entry.manifest.created_time.timestamp() if entry.manifest else math.inf


def _expect(pointers: Pointers, stable: str | None) -> None:
    if stable is not None and pointers.stable != stable:
        raise ModelConflictError(f"expected {stable} to serve, but {pointers.stable} does; look again")
