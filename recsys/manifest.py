"""What a bundle says about itself, and whether its files are still what it says.

Reading a manifest loads no model library, so a list of models is there at once.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.config import Config
from recsys.errors import BundleError, UnknownModelError

SCHEMA_VERSION: Final = 2
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
"""Of the manifest, where somebody signed it, see ``recsys.signature``."""
_CODE: Final = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py", ".pyc", ".so"}
"""Types of files that are pickles, or code itself: no bundle holds them, and nobody here reads them."""
RANKERS: Final = {"all": "ranker.txt", "new": "ranker_new.txt", "shown": "ranker_shown.txt"}
"""File of each ranker in a bundle, by what it orders: ``all`` candidates, only those ``new`` to the user, or
a list that somebody else chose and that is to be ``shown``. Only ``all`` is always there."""


class FileEntry(BaseModel):
    """One file of a bundle."""

    model_config = ConfigDict(frozen=True)
    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """Describe a file as it lies there."""
        with path.open("rb") as file:
            return cls(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


class _Versioned(BaseModel):
    """The one field of a manifest that every version has."""

    schema_version: int


class Manifest(BaseModel):
    """What a bundle says about itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: int = SCHEMA_VERSION
    version: str
    parent_version: str | None = None
    created_time: datetime
    data_from: datetime
    fitted_until: datetime
    """No part of the bundle saw an event at or after this."""
    parts_fitted_until_ms: dict[str, int]
    """The same by part; milliseconds since the epoch."""
    feature_names: tuple[str, ...]
    feature_fingerprint: str
    config: Config
    metrics: dict[str, float]
    libraries: dict[str, str]
    canary_inputs: list[list[float | None]]
    """Feature rows; ``null`` stands for NaN."""
    canary_scores: dict[str, list[float]]
    """Their scores, by ranker."""
    training: dict[str, Any] = {}
    """Wall seconds, sizes and learning curves of the training stages."""
    search: dict[str, dict[str, float]] = {}
    """How the vectors of each file are searched: lists, how many of them are read, and the share of the
    nearest 500 that is found so."""
    files: dict[str, FileEntry]

    @property
    def fitted_until_ms(self) -> int:
        """``fitted_until`` in milliseconds since the epoch."""
        return round(self.fitted_until.timestamp() * 1000)


def new_version(fitted_until: datetime, created: datetime) -> str:
    """A name for a bundle that sorts by the end of its data, then by when it was made.

    >>> new_version(datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 2, 8, 30, 0, 7, tzinfo=UTC))
    '20240501-20240602-083000-000007'
    """
    return f"{fitted_until.astimezone(UTC):%Y%m%d}-{created.astimezone(UTC):%Y%m%d-%H%M%S-%f}"


def read_manifest(directory: Path) -> Manifest:
    """Read a bundle's own description.

    Raises:
        UnknownModelError: There is none.
        BundleError: It is damaged or of another schema version.
    """
    try:
        raw = (directory / MANIFEST).read_bytes()
        version = _Versioned.model_validate_json(raw).schema_version
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"bundle {directory.name} has schema version {version}, this code reads {SCHEMA_VERSION}; "
                "train again"
            )
        manifest = Manifest.model_validate_json(raw)
        _check_canary(directory, manifest)
        return manifest
    except FileNotFoundError as error:
        raise UnknownModelError(
            f"there is no bundle {directory.name!r} in the registry; see: recsys models list"
        ) from error
    except OSError as error:
        raise BundleError(
            f"the manifest of bundle {directory.name!r} cannot be read: {error.strerror}"
        ) from error
    except ValidationError as error:
        raise BundleError(
            f"the manifest of bundle {directory.name!r} cannot be read: {error.error_count()} problems"
        ) from error


def _check_canary(directory: Path, manifest: Manifest) -> None:
    rows, scores = manifest.canary_inputs, manifest.canary_scores
    whole = (
        len({len(row) for row in rows}) == 1
        and "all" in scores
        and scores.keys() <= RANKERS.keys()
        and {len(values) for values in scores.values()} == {len(rows)}
    )
    if not whole:
        raise BundleError(
            f"the manifest of bundle {directory.name!r} has no canary rows with a score for each ranker; "
            "train again"
        )


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write a bundle's description into its directory."""
    (directory / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def describe_files(directory: Path) -> dict[str, FileEntry]:
    """Every file of a bundle but its manifest and signature, by its path within the bundle."""
    paths = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*"))}
    named = {name: path for name, path in paths.items() if path.is_file()}
    return {name: FileEntry.of(path) for name, path in named.items() if name not in {MANIFEST, SIGNATURE}}


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest.

    Raises:
        BundleError: A file is missing, added or changed, or may hold code.
    """
    code = sorted(name for name in manifest.files if Path(name).suffix.lower() in _CODE)
    if code:
        raise BundleError(f"bundle {manifest.version} holds files that may run code when read: {code}")
    present = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    present -= {MANIFEST, SIGNATURE}
    if present != set(manifest.files):
        raise BundleError(
            f"bundle {manifest.version} has missing or added files: {sorted(present ^ set(manifest.files))}"
        )
    names = sorted(manifest.files, key=lambda name: -manifest.files[name].size)
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        found = dict(zip(names, pool.map(lambda name: FileEntry.of(directory / name), names), strict=True))
    for name, entry in manifest.files.items():
        if found[name] != entry:
            raise BundleError(
                f"bundle {manifest.version}: {name} does not match its recorded hash; "
                "restore it or train again"
            )
