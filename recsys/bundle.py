"""A bundle: everything that serving needs, in one directory that describes and verifies itself.

::

    manifest.json                     what it is, sha256 and size of every file, canary inputs and scores
    encoder/                          the text encoder (safetensors and tokenizer) and towers.safetensors
    items/vectors.safetensors         int8 vectors of the distinct texts
    items/frozen_vectors.safetensors  the same before training, for reports
    candidates/co_occurrence.safetensors
    candidates/adoption.safetensors
    catalogue/items.parquet
    calibration.json
    ranker.txt
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Float64, Int8
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recsys.adoption import Adoption
from recsys.calibration import Calibration
from recsys.catalogue import Catalogue
from recsys.co_occurrence import CoOccurrence
from recsys.config import Config
from recsys.encoder import TextEncoder, Towers
from recsys.errors import BundleError, FeatureMismatchError
from recsys.index import VectorIndex
from recsys.moment import Parts
from recsys.ranker import Ranker
from recsys.workspace import atomic_path

SCHEMA_VERSION = 1
_LIBRARIES = ("torch", "transformers", "lightgbm", "polars", "numpy", "faiss-cpu")
_CANARY_TOLERANCE = 1e-6
FROZEN_VECTORS = "items/frozen_vectors.safetensors"


class FileEntry(BaseModel):
    """One file of a bundle."""

    model_config = ConfigDict(frozen=True)
    sha256: str
    size: int


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
    canary_scores: list[float]
    training: dict[str, Any] = {}
    """Wall seconds, sizes and learning curves of the training stages."""
    files: dict[str, FileEntry]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory."""

    manifest: Manifest
    parts: Parts
    ranker: Ranker


def libraries() -> dict[str, str]:
    """Versions of the libraries that a bundle depends on."""
    return {name: library_version(name) for name in _LIBRARIES}


def write_bundle(  # noqa: PLR0917 (one argument per part, each of its own type)
    target: Path,
    describe: dict[str, Any],
    parts: Parts,
    encoder: TextEncoder,
    towers: Towers,
    ranker: Ranker,
    canary: Float32[np.ndarray, "rows features"],
    *,
    frozen_vectors: Int8[np.ndarray, "texts width"],
) -> Manifest:
    """Write a bundle; it appears whole or not at all.

    Args:
        target: The bundle's directory, which must not exist.
        describe: The manifest's fields that the parts do not tell.
        parts: Fitted parts.
        encoder: The text encoder.
        towers: The towers on it.
        ranker: The ranker.
        canary: A few rows of ranker input; their scores are checked at every load.
        frozen_vectors: Vectors of the texts before training, quantised; reports compare with them, serving
            does not read them.
    """
    with atomic_path(target) as directory:
        for name in ("encoder", "items", "candidates", "catalogue"):
            (directory / name).mkdir(parents=True)
        encoder.save(directory / "encoder")
        towers.save(directory / "encoder" / "towers.safetensors")
        save_file({"vectors": parts.index.vectors}, directory / "items" / "vectors.safetensors")
        save_file({"vectors": frozen_vectors}, directory / FROZEN_VECTORS)
        save_file({"rates": parts.adoption.rates}, directory / "candidates" / "adoption.safetensors")
        table = parts.co_occurrence
        save_file(
            {"neighbours": table.neighbours, "weights": table.weights},
            directory / "candidates" / "co_occurrence.safetensors",
        )
        parts.catalogue.frame.write_parquet(directory / "catalogue" / "items.parquet")
        (directory / "calibration.json").write_text(json.dumps(asdict(parts.calibration)), encoding="utf-8")
        ranker.save(directory / "ranker.txt")
        manifest = Manifest(
            **describe,
            parts_fitted_until_ms=parts.fitted_until(),
            config=parts.config,
            libraries=libraries(),
            canary_inputs=[
                [None if math.isnan(value) else value for value in row] for row in canary.tolist()
            ],
            canary_scores=ranker.scores(canary).tolist(),
            files={
                str(path.relative_to(directory)): _entry(path)
                for path in sorted(directory.rglob("*"))
                if path.is_file()
            },
        )
        (directory / "manifest.json").write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read a bundle's own description.

    Raises:
        BundleError: There is none, or it is damaged or of another schema version.
    """
    path = directory / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(
            f"there is no bundle {directory.name!r} in the registry; see: recsys models list"
        ) from error
    except ValidationError as error:
        raise BundleError(
            f"the manifest of bundle {directory.name!r} cannot be read: {error.error_count()} problems"
        ) from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise BundleError(
            f"bundle {manifest.version} has schema version {manifest.schema_version}, "
            f"this code reads {SCHEMA_VERSION}"
        )
    return manifest


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest.

    Raises:
        BundleError: A file is missing, added or changed.
    """
    present = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    present.discard("manifest.json")
    if present != set(manifest.files):
        raise BundleError(
            f"bundle {manifest.version} has missing or added files: {sorted(present ^ set(manifest.files))}"
        )
    for name, entry in manifest.files.items():
        if _entry(directory / name) != entry:
            raise BundleError(
                f"bundle {manifest.version}: {name} does not match its recorded hash; "
                "restore it or train again"
            )


def load_bundle(directory: Path, fingerprint: str | None = None) -> Bundle:
    """Verify a bundle and load what answering needs; the text encoder itself stays on disk.

    Args:
        directory: The bundle.
        fingerprint: Fingerprint of the caller's feature definitions, or ``None`` to skip that check.

    Raises:
        BundleError: It does not verify, or its canary rows score differently here.
        FeatureMismatchError: It was trained on other feature definitions.
    """
    manifest = read_manifest(directory)
    if fingerprint is not None and manifest.feature_fingerprint != fingerprint:
        raise FeatureMismatchError(
            f"bundle {manifest.version} was trained on other feature definitions than this code computes; "
            "train again"
        )
    verify_files(directory, manifest)
    try:
        parts = _load_parts(directory, manifest)
    except (SafetensorError, KeyError, pl.exceptions.PolarsError, ValueError) as error:
        raise BundleError(f"bundle {manifest.version} cannot be loaded: {error}") from error
    ranker = Ranker.load(directory / "ranker.txt", manifest.feature_names)
    canary = np.asarray(
        [[np.nan if v is None else v for v in row] for row in manifest.canary_inputs], np.float32
    )
    difference = np.abs(ranker.scores(canary) - np.asarray(manifest.canary_scores))
    if not np.all(difference <= _CANARY_TOLERANCE):
        raise BundleError(
            f"bundle {manifest.version}: its canary rows score differently here (by {difference.max():g}); "
            "train again"
        )
    return Bundle(manifest, parts, ranker)


def _load_parts(directory: Path, manifest: Manifest) -> Parts:
    config = manifest.config
    catalogue = Catalogue(pl.read_parquet(directory / "catalogue" / "items.parquet"))
    width = json.loads((directory / "encoder" / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    towers = Towers.load(directory / "encoder" / "towers.safetensors", width, config.encoder)
    table = load_file(directory / "candidates" / "co_occurrence.safetensors")
    rates = load_file(directory / "candidates" / "adoption.safetensors")["rates"]
    fitted_until = manifest.parts_fitted_until_ms
    return Parts(
        config=config,
        catalogue=catalogue,
        index=VectorIndex(load_file(directory / "items" / "vectors.safetensors")["vectors"], catalogue),
        user_tower=towers.user,
        co_occurrence=CoOccurrence(table["neighbours"], table["weights"], fitted_until["co_occurrence"]),
        adoption=Adoption(rates, fitted_until["adoption"]),
        calibration=Calibration(**json.loads((directory / "calibration.json").read_text(encoding="utf-8"))),
        encoder_fitted_until_ms=fitted_until["encoder"],
    )


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def text_vectors(
    towers: Towers, base: Float32[torch.Tensor, "texts width"]
) -> Float64[np.ndarray, "texts dim"]:
    """Item vectors of base vectors, for ``recsys.index.quantise``."""
    with torch.inference_mode():
        vectors: Float64[np.ndarray, "texts dim"] = towers.item(base).double().numpy()
    return vectors
