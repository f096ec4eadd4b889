"""Appends of one name that are not the same one: what one machine wrote under it must not undo the other's.

A copy of a workspace with its buffer of events goes on counting where the first one does; so does a backup
that was restored. Appends of one name may differ for other reasons: somebody was taken out of one, or one was
cut into other shards.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.remote.head import Head
from recsys.remote.objects import Objects
from recsys.remote.record import incoming_directory
from recsys.remote.transfer import ChangedFileError, MissingObjectError, download
from recsys.remote.units import SET_ASIDE, Unit, Units
from recsys.schema import EVENT_ID, MERGE_SCHEMA
from recsys.workspace import Workspace

_COMPARED = "compared"
"""Beside what is brought, so that it goes with it."""


def with_other_events(
    workspace: Workspace, objects: Objects, head: Head, names: Iterable[str], here: Units
) -> list[str]:
    """Those of some appends in which the workspace has events or merges that the store's have not.

    Args:
        workspace: Which has them.
        objects: The store.
        head: What it holds.
        names: Units of the log that are here and there; what was erased there is erased here.
        here: The workspace's units.

    Raises:
        DataError: A file here cannot be read, or went meanwhile.
        ObjectStoreError: The store cannot be reached, or holds something else than its head says.
    """
    compared = incoming_directory(workspace) / _COMPARED
    found: list[str] = []
    try:
        for name in names:
            own, theirs = _differing(here[name], there := head.contents(name))
            if not own:
                continue
            try:
                download(objects, {path: head.units[name][path] for path in theirs}, compared, stays=False)
            except MissingObjectError:  # nothing is lost that is not lost already
                continue
            known = _rows([compared / path for path in theirs if there[path].size])
            if not _rows([workspace.root / path for path in own]) <= known:
                found.append(name)
    finally:
        shutil.rmtree(compared, ignore_errors=True)
    return found


def _differing(here: Unit, there: Unit) -> tuple[list[str], list[str]]:
    """The files of events and merges that are not the same here and there."""
    own = [path for path, content in _data(here).items() if content not in {SET_ASIDE, there.get(path)}]
    return own, [path for path, content in _data(there).items() if content != here.get(path)]


def _data(append: Unit) -> Unit:
    return {path: of for path, of in append.items() if not path.startswith("events/_commits/")}


def _rows(files: Iterable[Path]) -> set[tuple[object, ...]]:
    """What tells events from others, and merges."""
    rows: set[tuple[object, ...]] = set()
    for file in files:
        columns = list(MERGE_SCHEMA) if file.parent.name == "_merges" else [EVENT_ID]
        try:
            rows |= set(pl.read_parquet(file, columns=columns, hive_partitioning=False).iter_rows())
        except FileNotFoundError as error:
            raise ChangedFileError(f"{file} went while it was read; run it again") from error
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{file} is not as it was written; restore it from a backup") from error
    return rows
