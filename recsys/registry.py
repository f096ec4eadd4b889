"""The registry: bundles by version, and the pointers that say which one serves."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.bundle import Manifest, read_manifest
from recsys.errors import BundleError
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

    def manifests(self) -> list[Manifest]:
        """Every bundle's manifest, oldest first."""
        found = [read_manifest(path.parent) for path in (self.root / "bundles").glob("[!.]*/manifest.json")]
        return sorted(found, key=lambda manifest: manifest.created_time)

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
            raise BundleError(f"{path.name} of the registry is damaged; restore it or train again") from error

    def stable(self) -> Path:
        """Directory of the version that serves.

        Raises:
            BundleError: There is none yet.
        """
        version = self.pointers().stable
        if version is None:
            raise BundleError("no model has been trained in this workspace; run: recsys train")
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
