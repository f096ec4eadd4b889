"""Takes in a ranker that was trained elsewhere: a new bundle, which is the serving one with that ranker."""

import math
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import BundleError, ConfigError, DataError, FeatureMismatchError
from recsys.manifest import (
    MANIFEST,
    RANKERS,
    FileEntry,
    Manifest,
    new_version,
    read_manifest,
    verify_files,
    write_manifest,
)
from recsys.model_text import ModelText, read_model_text
from recsys.ranker_trial import TrialResult, try_ranker
from recsys.registry import Registry
from recsys.workspace import Workspace, atomic_path


class FeatureDescription(BaseModel):
    """What the one who trained a model says of its columns; further keys are ignored."""

    model_config = ConfigDict(frozen=True)
    feature_names: tuple[str, ...] = Field(min_length=1)
    """Names of the model's columns, in order."""
    fingerprint: str | None = Field(
        default=None, validation_alias=AliasChoices("fingerprint", "feature_fingerprint")
    )
    """Fingerprint of the definitions that the features were computed by."""
    fitted_until: AwareDatetime | None = None
    """End of the data that the model was trained on; that of the serving bundle when absent."""


@dataclass(frozen=True)
class ImportedModel:
    """What an import made."""

    version: str
    parent_version: str
    ranker_name: str
    num_trees: int
    promoted: bool


def import_ranker(
    workspace: Workspace, ranker: Path, features: Path, *, ranker_name: str = "all", promote: bool = False
) -> ImportedModel:
    """Make a new bundle of the stable one and a LightGBM model.

    The model is checked as text and then run in a process of its own, so a damaged file is an error and
    nothing else. A model trained on a bare matrix gets its columns' names from ``features``.

    Args:
        workspace: Whose registry to read and to add to.
        ranker: The model in LightGBM's text format.
        features: JSON of a ``FeatureDescription``: ``feature_names`` in column order, and what else is known.
        ranker_name: Which of the bundle's rankers it replaces.
        promote: Let the new bundle serve.

    Raises:
        BundleError: No bundle serves, it is damaged, or the model cannot be used.
        ConfigError: A bundle has no ranker of that name.
        DataError: A file cannot be read.
        FeatureMismatchError: The model was trained on other features than the bundle's, or in another order.
    """
    if ranker_name not in RANKERS:
        raise ConfigError(f"there is no ranker {ranker_name!r}; there are: {', '.join(RANKERS)}")
    registry = Registry(workspace.registry)
    source = registry.stable()
    parent = read_manifest(source)
    verify_files(source, parent)
    described = _read_description(features)
    _check_features(described, parent)
    model = _named(_read_model(ranker), described)
    manifest = _describe(parent, described, ranker_name)
    with atomic_path(registry.path(manifest.version)) as directory:
        _link_files(source, directory, parent, leave_out=RANKERS[ranker_name])
        path = directory / RANKERS[ranker_name]
        path.write_text(model.text, encoding="ascii")
        result = try_ranker(path, _canary(parent))
        write_manifest(directory, _with_results(manifest, ranker_name, path, result, model))
    if promote:
        registry.promote(manifest.version)
    return ImportedModel(manifest.version, parent.version, ranker_name, model.num_trees, promote)


def _read_description(path: Path) -> FeatureDescription:
    try:
        return FeatureDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DataError(
            f'{path.name} should be JSON such as {{"feature_names": ["a", "b"]}}: {problems}'
        ) from error


def _read_model(path: Path) -> ModelText:
    try:
        return read_model_text(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except BundleError as error:
        raise BundleError(f"{path.name}: {error}; save it anew with Booster.save_model") from error


def _check_features(described: FeatureDescription, parent: Manifest) -> None:
    ours, theirs = parent.feature_names, described.feature_names
    unknown = [name for name in theirs if name not in set(ours)]
    missing = [name for name in ours if name not in set(theirs)]
    if unknown or missing:
        raise FeatureMismatchError(
            f"the model's features are not those of bundle {parent.version}; "
            f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}; "
            "train it on the columns that recsys features export writes"
        )
    if theirs != ours:
        raise FeatureMismatchError(
            f"the model's features are in another order than those of bundle {parent.version}, or repeated; "
            f"train it on the columns in this order: {', '.join(ours)}"
        )
    if described.fingerprint is not None and described.fingerprint != parent.feature_fingerprint:
        raise FeatureMismatchError(
            f"the model's features were computed by other definitions than those of bundle {parent.version}; "
            "export them again and train anew"
        )


def _named(model: ModelText, described: FeatureDescription) -> ModelText:
    if model.feature_names == described.feature_names:
        return model
    if model.is_unnamed and len(model.feature_names) == len(described.feature_names):
        return model.named(described.feature_names)
    raise FeatureMismatchError(
        f"the description names {len(described.feature_names)} columns, and the model has "
        f"{len(model.feature_names)} of other names: {', '.join(model.feature_names[:5])}, ...; "
        "describe the model by its own names"
    )


def _describe(parent: Manifest, described: FeatureDescription, ranker_name: str) -> Manifest:
    stale = "ranker" if ranker_name == "all" else f"ranker_{ranker_name}"
    created = datetime.now(UTC)
    fitted_until = max(parent.fitted_until, described.fitted_until or parent.fitted_until)
    return parent.model_copy(
        update={
            "version": new_version(fitted_until, created),
            "parent_version": parent.version,
            "created_time": created,
            "fitted_until": fitted_until,
            "metrics": {name: v for name, v in parent.metrics.items() if not name.startswith(stale)},
        }
    )


def _with_results(
    manifest: Manifest, name: str, path: Path, result: TrialResult, model: ModelText
) -> Manifest:
    ranker = {"imported": True, "num_trees": model.num_trees, "curve": [], "gain": result.gain}
    rankers = {**manifest.training.get("rankers", {}), name: ranker}
    return manifest.model_copy(
        update={
            "canary_scores": {**manifest.canary_scores, name: result.scores},
            "training": {**manifest.training, "rankers": rankers},
            "files": {**manifest.files, RANKERS[name]: FileEntry.of(path)},
        }
    )


def _canary(manifest: Manifest) -> np.ndarray:
    rows = [[math.nan if value is None else value for value in row] for row in manifest.canary_inputs]
    return np.asarray(rows, np.float32)


def _link_files(source: Path, target: Path, manifest: Manifest, leave_out: str) -> None:
    """Share the files of a bundle, which nobody ever changes; copy them where the disk cannot link."""
    target.mkdir(parents=True)
    for name in manifest.files:
        if name in {leave_out, MANIFEST}:
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:
            shutil.copy2(source / name, target / name)
