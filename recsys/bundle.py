"""A bundle: everything that serving needs, in one directory that describes and verifies itself.

::

    manifest.json                     what it is, sha256 and size of every file, canary inputs and scores
    encoder/                          the text encoder (safetensors and tokenizer) and towers.safetensors
    items/vectors.safetensors         int8 vectors of the distinct texts, see ``recsys.code_lists``
    items/vectors.full.safetensors    only with product codes, see ``recsys.product_lists``: the vectors
    items/words.safetensors           the same by the pretrained encoder
    candidates/*.safetensors          co_occurrence, following, ease and history, see ``recsys.item_tables``
    catalogue/items.parquet           and what follows from it, see ``recsys.catalogue_files``
    calibration.json
    ranker.txt, ranker_new.txt, ...   see ``recsys.manifest.RANKERS``
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Float64, Int8

from recsys.bundle_check import check_parts
from recsys.calibration import Calibration
from recsys.catalogue_files import ITEMS_FILE, load_catalogue, save_catalogue
from recsys.encoder import TextEncoder, Towers
from recsys.errors import BundleError, FeatureMismatchError, RecsysError
from recsys.index import VectorIndex, quantise
from recsys.item_tables import ItemTables
from recsys.manifest import (
    RANKERS,
    Manifest,
    describe_files,
    read_manifest,
    verify_files,
    write_manifest,
)
from recsys.moment import Parts
from recsys.query_encoder import QueryEncoder
from recsys.ranker import Ranker
from recsys.runner import Runner
from recsys.workspace import atomic_path

CATALOGUE_FILE = f"catalogue/{ITEMS_FILE}"
"""Where a bundle has its items."""

_LIBRARIES = ("torch", "transformers", "lightgbm", "polars", "numpy", "faiss-cpu")
_UNREADABLE = (Exception, pl.exceptions.PanicException)
"""Whatever readers of damaged files raise; a panic of Polars is no ``Exception``."""
_CANARY_TOLERANCE = 1e-6
_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory."""

    manifest: Manifest
    parts: Parts
    rankers: dict[str, Ranker]
    """By what they order, see ``recsys.manifest.RANKERS``."""
    queries: QueryEncoder | None = None
    """Reads what shoppers type; without one, only their exact words are found."""

    def ranker(self, orders: str) -> Ranker:
        """The ranker for what is to be ordered; the one for everything where there is no special one."""
        return self.rankers.get(orders, self.rankers["all"])


def libraries() -> dict[str, str]:
    """Versions of the libraries that a bundle depends on."""
    return {name: library_version(name) for name in _LIBRARIES}


def write_bundle(  # noqa: PLR0917 (one argument per part, each of its own type)
    target: Path,
    describe: dict[str, Any],
    parts: Parts,
    encoder: TextEncoder,
    towers: Towers,
    rankers: dict[str, Ranker],
    canary: Float32[np.ndarray, "rows features"],
    runner: Runner | None = None,
) -> Manifest:
    """Write a bundle; it appears whole or not at all.

    Args:
        target: The bundle's directory, which must not exist.
        describe: The manifest's fields that the parts do not tell.
        parts: Fitted parts.
        encoder: The text encoder.
        towers: The towers on it.
        rankers: The rankers, by what they order.
        canary: A few rows of ranker input; their scores are checked at every load.
        runner: Where a large index is made, see ``recsys.list_shards``; in this process when absent.
    """
    with atomic_path(target) as directory:
        for name in ("encoder", "items", "candidates", "catalogue"):
            (directory / name).mkdir(parents=True)
        encoder.save(directory / "encoder")
        towers.save(directory / "encoder" / "towers.safetensors")
        above = parts.config.candidates.product_codes_above
        search = {
            name: index.save(directory / "items" / f"{name}.safetensors", above, runner)
            for name, index in (("vectors", parts.index), ("words", parts.words))
        }
        parts.tables.save(directory / "candidates")
        save_catalogue(parts.catalogue, directory / "catalogue")
        (directory / "calibration.json").write_text(json.dumps(asdict(parts.calibration)), encoding="utf-8")
        for name, ranker in rankers.items():
            ranker.save(directory / RANKERS[name])
        manifest = Manifest(
            **describe,
            parts_fitted_until_ms=parts.fitted_until(),
            config=parts.config,
            libraries=libraries(),
            canary_inputs=[
                [None if math.isnan(value) else value for value in row] for row in canary.tolist()
            ],
            canary_scores={name: ranker.scores(canary).tolist() for name, ranker in rankers.items()},
            search=search,
            files=describe_files(directory),
        )
        write_manifest(directory, manifest)
    return manifest


def load_bundle(directory: Path, fingerprint: str | None = None) -> Bundle:
    """Verify a bundle and load what answering needs; the text encoder stays on disk until it is asked.

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
    parts = _verified_parts(directory, manifest)
    rankers = {
        name: Ranker.load(directory / RANKERS[name], manifest.feature_names)
        for name in manifest.canary_scores
    }
    canary = np.asarray(
        [[np.nan if v is None else v for v in row] for row in manifest.canary_inputs], np.float32
    )
    if canary.shape[1] != len(manifest.feature_names):
        raise BundleError(f"bundle {manifest.version}: its canary rows have another width; train again")
    for name, ranker in rankers.items():
        difference = np.abs(ranker.scores(canary) - np.asarray(manifest.canary_scores[name]))
        if not np.all(difference <= _CANARY_TOLERANCE):
            raise BundleError(
                f"bundle {manifest.version}: its canary rows score differently here "
                f"(ranker {name!r}, by {difference.max():g}); train again"
            )
    return Bundle(manifest, parts, rankers, QueryEncoder(directory / "encoder", manifest.config.encoder))


def _verified_parts(directory: Path, manifest: Manifest) -> Parts:
    """The parts, read while the hashes are checked: nothing of what they say is used before that is done."""
    with ThreadPoolExecutor(1) as aside:
        verified = aside.submit(verify_files, directory, manifest)
        try:
            parts = _load_parts(directory, manifest)
            check_parts(parts)
        except _UNREADABLE as error:
            verified.result()  # a damaged file explains why it cannot be loaded
            if isinstance(error, RecsysError):
                raise
            raise BundleError(f"bundle {manifest.version} cannot be loaded: {error!r}") from error
        verified.result()
    return parts


def _load_parts(directory: Path, manifest: Manifest) -> Parts:
    config = manifest.config
    catalogue = load_catalogue(directory / "catalogue")
    width = json.loads((directory / "encoder" / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    towers = Towers.load(directory / "encoder" / "towers.safetensors", width, config.encoder)
    fitted_until = manifest.parts_fitted_until_ms
    return Parts(
        config=config,
        catalogue=catalogue,
        index=VectorIndex.load(directory / "items" / "vectors.safetensors", catalogue),
        words=VectorIndex.load(directory / "items" / "words.safetensors", catalogue),
        user_tower=towers.user,
        tables=ItemTables.load(directory / "candidates", fitted_until),
        calibration=Calibration(**json.loads((directory / "calibration.json").read_text(encoding="utf-8"))),
        encoder_fitted_until_ms=fitted_until["encoder"],
    )


def text_vectors(
    towers: Towers, base: Float32[torch.Tensor, "texts width"]
) -> Float64[np.ndarray, "texts dim"]:
    """Item vectors of base vectors, for ``recsys.index.quantise``."""
    with torch.inference_mode():
        vectors: Float64[np.ndarray, "texts dim"] = towers.item(base).double().numpy()
    return vectors


def item_vectors(towers: Towers, base: Float32[torch.Tensor, "texts width"]) -> Int8[np.ndarray, "texts dim"]:
    """The same quantised, computed in blocks, so that the vectors of many texts are never all in memory."""
    blocks = [quantise(text_vectors(towers, block)) for block in torch.split(base, _AT_ONCE)]
    return np.concatenate(blocks)
