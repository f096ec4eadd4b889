"""The ranker's training table as a file: what notebooks train on, and what comes back by an import."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from features.log import POSITION
from features.registry import fingerprint
from recsys.bundle import load_bundle
from recsys.candidates import SOURCE_NAMES, source_names
from recsys.config import Config
from recsys.errors import ConfigError, DataError, LeakageError
from recsys.event_log import EventLog
from recsys.manifest import Manifest, read_manifest
from recsys.registry import Registry
from recsys.schema import AS_OF, ITEM_ID, QUERY_ID, SOURCES, TIMESTAMP, USER_ID
from recsys.timestamps import iso
from recsys.workspace import Workspace, atomic_path
from training.decision_table import decision_table
from training.labels import LABEL, gains
from training.log_copy import LogCopy
from training.offers import SOURCE_BITS

Orders = Literal["all", "new"]
_SOURCE = pl.Enum(SOURCE_NAMES)


@dataclass(frozen=True)
class ExportedFeatures:
    """What an export wrote."""

    output: Path
    """Parquet: ``query_id, user_id, item_id, as_of, label, sources`` and a column per feature."""
    description: Path
    """JSON of the feature names, for ``recsys models import --features``, and of the label gains."""
    queries: int
    rows: int
    positives: int
    """Rows whose label is above 0."""
    lost: int
    """Positives of the window that no source offered; they have no row."""


def export_features(
    workspace: Workspace,
    from_ms: int,
    to_ms: int,
    output: Path,
    *,
    placement: str = "home",
    orders: Orders = "all",
) -> ExportedFeatures:
    """Write what a ranker learns from: candidates with their features at a moment, and what happened then.

    The stable bundle's sources and fitted parts are used. A label is the best grade of a user and item in the
    window, an index into ``label_gain`` of the description. Rows of a query are consecutive; of those without
    a label, ``ranker.num_negatives`` are kept.

    Args:
        workspace: The workspace.
        from_ms: Start of the label window, and the moment of the features; milliseconds since the epoch.
        to_ms: End of the window, exclusive.
        output: The Parquet file; ``OUTPUT.features.json`` goes beside it.
        placement: A placement of the bundle's configuration that starts from a user.
        orders: ``all`` for every candidate, ``new`` for those that are new to the user.

    Raises:
        BundleError: No bundle has been trained, or it does not verify.
        ConfigError: The window is empty, or there is no such placement.
        DataError: There is nothing to learn from in the window.
        LeakageError: The bundle was fitted on events of the window.
    """
    if from_ms >= to_ms:
        raise ConfigError(f"--from must lie before --to, got {iso(from_ms)} and {iso(to_ms)}")
    directory = Registry(workspace.registry).stable()
    manifest = read_manifest(directory)
    _require_placement(manifest.config, placement)
    _require_fitted_before(manifest, from_ms)
    parts = load_bundle(directory, fingerprint(manifest.config.state)).parts
    log = LogCopy(EventLog(workspace.events), to_ms)
    table = decision_table(log.events, parts, from_ms, to_ms, placement=placement, shards=log.shards)
    rows = table.orders[orders]
    if not rows.any():
        raise DataError(
            f"between {iso(from_ms)} and {iso(to_ms)} nobody did anything that a source had offered; "
            "choose another window"
        )
    keys = _keys(table.pairs.filter(rows), table.users, parts.catalogue.item_ids, from_ms)
    with atomic_path(output) as partial:
        keys.hstack(pl.DataFrame(table.matrix[rows], list(manifest.feature_names))).write_parquet(partial)
    return ExportedFeatures(
        output=output,
        description=_describe(output, manifest, to_ms),
        queries=keys[QUERY_ID].n_unique(),
        rows=keys.height,
        positives=int((keys[LABEL] > 0).sum()),
        lost=table.lost,
    )


def _require_placement(config: Config, placement: str) -> None:
    known = [name for name, place in config.placements.items() if place.starts_from == "user"]
    if placement not in known:
        raise ConfigError(
            f"there is no placement {placement!r} that starts from a user; there are: {', '.join(known)}"
        )


def _require_fitted_before(manifest: Manifest, from_ms: int) -> None:
    part, fitted_until_ms = max(manifest.parts_fitted_until_ms.items(), key=lambda part: part[1])
    if fitted_until_ms > from_ms:
        raise LeakageError(
            f"bundle {manifest.version} was fitted on events until {iso(fitted_until_ms)} ({part}), so its "
            f"features of {iso(from_ms)} would know the labels; run: recsys train --until {iso(from_ms)}"
        )


def _keys(pairs: pl.DataFrame, users: list[str], item_ids: list[str], as_of_ms: int) -> pl.DataFrame:
    names = {bits: list(source_names(bits)) for bits in pairs[SOURCE_BITS].unique().to_list()}
    sources = pl.Series(SOURCES, [names[bits] for bits in pairs[SOURCE_BITS].to_list()], pl.List(_SOURCE))
    return pairs.select(
        QUERY_ID,
        pl.Series(USER_ID, users, pl.String).gather(pairs[QUERY_ID]),
        pl.Series(ITEM_ID, item_ids, pl.String).gather(pairs[POSITION]),
        pl.lit(as_of_ms, pl.Int64).cast(TIMESTAMP).alias(AS_OF),
        LABEL,
        sources,
    )


def _describe(output: Path, manifest: Manifest, to_ms: int) -> Path:
    path = output.with_suffix(".features.json")
    described = {
        "feature_names": manifest.feature_names,
        "fingerprint": manifest.feature_fingerprint,
        "fitted_until": iso(to_ms),
        "label_gain": gains(manifest.config),
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(described, indent=1), encoding="utf-8")
    return path
