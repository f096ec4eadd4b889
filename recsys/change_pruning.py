"""Forgets changes of the catalogue that every model knows: they move among the ingested items.

A change may go once no model that can be loaded would be wrong without it. So it is compared with the
catalogue of each bundle of the registry, and one bundle that does not know it, or cannot be read, keeps it.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import polars as pl

from recsys.bundle import CATALOGUE_FILE
from recsys.file_lock import exclusive_if_free
from recsys.item_changes import CHANGES_FILE, ItemChange, ItemChanges, as_json, changed_rows
from recsys.registry import Registry
from recsys.schema import ITEM_ID, ITEM_SCHEMA
from recsys.tables import INGEST_LOCK, TRAINING_LOCK, merged_items, publish
from recsys.workspace import Workspace

WORTHWHILE = 1000
"""Fewer changes than these stay: each pruning writes the catalogue anew."""


def prune_changes(workspace: Workspace, at_least: int = WORTHWHILE) -> int:
    """Move changes that every bundle contains among the ingested items; how many were forgotten.

    No server may be running on the workspace: one that has not applied a change yet would never hear of it.
    While an ingest or a training runs, nothing is forgotten: a bundle may be about to come that was read from
    an earlier catalogue.

    Args:
        workspace: The workspace.
        at_least: Fewer changes than these are left where they are.

    Raises:
        CatalogueError: The changes cannot be read or written.
        DataError: The ingested items are damaged.
    """
    path = workspace.state / CHANGES_FILE
    if not path.exists():
        return 0
    with ExitStack() as held:
        locks = (workspace.root / INGEST_LOCK, workspace.root / TRAINING_LOCK)
        if not all(held.enter_context(exclusive_if_free(lock)) for lock in locks):
            return 0
        changes = held.enter_context(closing(ItemChanges(path)))
        known = _known_to_all(_bundles(workspace), changes.since(0), at_least)
        if len(known) < at_least:
            return 0
        publish(workspace.items, merged_items(workspace, pl.DataFrame(schema=ITEM_SCHEMA)))
        return changes.forget(known)


def _bundles(workspace: Workspace) -> list[Path]:
    registry = Registry(workspace.registry)
    return [registry.path(entry.version) for entry in registry.entries()]


def _known_to_all(bundles: Sequence[Path], changes: list[ItemChange], at_least: int) -> list[ItemChange]:
    """Those changes that every bundle contains; none where there is no bundle."""
    if not bundles:
        return []
    for bundle in bundles:
        if len(changes) < at_least:
            break
        changes = _known_to(bundle / CATALOGUE_FILE, changes)
    return changes


def _known_to(catalogue: Path, changes: Sequence[ItemChange]) -> list[ItemChange]:
    """Those changes that say of an item what a catalogue says of it; none if it cannot be read."""
    ids = pl.Series([change.item_id for change in changes], dtype=pl.String)
    try:
        items = (
            pl.scan_parquet(catalogue)
            .filter(pl.col(ITEM_ID).is_in(ids.implode()))
            .select(ITEM_SCHEMA.names())
            .cast(pl.Schema(ITEM_SCHEMA))
            .collect()
        )
    except (OSError, pl.exceptions.PolarsError):
        return []
    known, wanted = _lines(items), _lines(changed_rows(changes))
    return [change for change in changes if known.get(change.item_id) == wanted.get(change.item_id)]


def _lines(items: pl.DataFrame) -> dict[str, str]:
    return dict(zip(items[ITEM_ID].to_list(), as_json(items), strict=True))
