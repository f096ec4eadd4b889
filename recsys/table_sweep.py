"""Takes erased people out of the tables beside the event log: served lists, users, and refused rows.

A ledger says of every file how it looked when it was last swept and how many tombstones there were, so that
a sweep reads only what is new, changed, or came back from a backup.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from recsys.digest_names import DIRECTORY
from recsys.errors import DataError
from recsys.file_lock import exclusive
from recsys.readers import ROW
from recsys.remote.record import incoming_directory
from recsys.schema import SERVED_TIME, TIMESTAMP, UPDATED_TIME, USER_ID
from recsys.tombstones import Tombstones
from recsys.unfinished import remove_unfinished
from recsys.workspace import Workspace, atomic_path

LISTS_LOCK = ".lock"
"""Name of the file in ``Workspace.served_lists`` that whoever writes or rewrites files there holds."""
_PRUNED = ".pruned"
"""Name of the file in ``Workspace.served_lists`` that says before which day lists were pruned."""
_LEDGER = "swept.json"
_SUBJECT = "_subject"


@dataclass(frozen=True)
class _Kind:
    """How to tell whose a row is, and when it happened."""

    directory: Path
    pattern: str
    subject: pl.Expr
    time: pl.Expr


def sweep(workspace: Workspace, tombstones: Tombstones) -> int:
    """Rewrite the files that hold rows of erased people, each in one step; how many rows went.

    Raises:
        DataError: A file is damaged.
        OSError: A file cannot be written.
    """
    if not len(tombstones):
        return 0
    with exclusive(workspace.served_lists / LISTS_LOCK):
        return _sweep(workspace, tombstones)


def _sweep(workspace: Workspace, tombstones: Tombstones) -> int:
    path = workspace.root / DIRECTORY / _LEDGER
    number, num_rows = len(tombstones), 0
    before, after = _read(path), {}
    for kind in _kinds(workspace):
        for file in sorted(kind.directory.glob(kind.pattern)):
            name = file.relative_to(workspace.root).as_posix()
            if before.get(name) != [*_mark(file), number]:
                num_rows += _clean(file, kind, tombstones)
            after[name] = [*_mark(file), number]
    if after != before:
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(after), encoding="utf-8")
    return num_rows


def drop_unreadable(workspace: Workspace, subjects: Iterable[str]) -> None:
    """Remove refused lines that were no rows and hold one of some ids somewhere.

    Raises:
        DataError: A file is damaged.
        OSError: A file cannot be written.
    """
    ids = [one for one in subjects if one]
    for file in sorted(workspace.rejects.glob("*.parquet")):
        rows = _table(file)
        is_row = pl.col(ROW).str.starts_with("{") & pl.col(ROW).str.ends_with("}")
        names = pl.any_horizontal(pl.col(ROW).str.contains(one, literal=True) for one in ids)
        kept = rows.filter(is_row | ~names)
        if kept.height < rows.height:
            with atomic_path(file) as partial:
                kept.write_parquet(partial)


def remove_scratch(workspace: Workspace) -> None:
    """Remove what crashes left of files that were being written, in every place that holds somebody's data.

    What a pull that was killed has brought so far goes too; one that runs now has to begin again.

    Raises:
        OSError: Something cannot be removed.
    """
    for place in (
        workspace.root / DIRECTORY,
        workspace.events,
        *(kind.directory for kind in _kinds(workspace)),
    ):
        remove_unfinished(place)
    shutil.rmtree(incoming_directory(workspace), ignore_errors=True)


def rows_of(workspace: Workspace, subjects: set[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Every row of somebody in these tables, each with the name of its table; for an export."""
    for kind in _kinds(workspace):
        for file in sorted(kind.directory.glob(kind.pattern)):
            rows = _table(file)
            for row in rows.filter(kind.subject.is_in(list(subjects))).iter_rows(named=True):
                yield kind.directory.name, row


def prune_lists(workspace: Workspace, before_ms: int) -> int:
    """Remove served lists' files whose whole day lies before a time; how many files went."""
    day = pl.select(pl.lit(before_ms).cast(TIMESTAMP).dt.date().cast(pl.String)).item()
    old = [path for path in workspace.served_lists.glob("day=*/*.parquet") if path.parent.name[4:] < day]
    with exclusive(workspace.served_lists / LISTS_LOCK):  # a sweep would bring back what goes under it
        if old and day > pruned_before(workspace):
            with atomic_path(workspace.served_lists / _PRUNED) as partial:
                partial.write_text(day, encoding="ascii")
        for path in old:
            path.unlink(missing_ok=True)
    return len(old)


def pruned_before(workspace: Workspace) -> str:
    """The day, ``YYYY-MM-DD``, before which served lists were pruned; empty where none ever were.

    What is gone of other days was lost, and so were all where the directory is.
    """
    try:
        return date.fromisoformat((workspace.served_lists / _PRUNED).read_text(encoding="ascii")).isoformat()
    except (FileNotFoundError, ValueError):
        return ""


def _kinds(workspace: Workspace) -> tuple[_Kind, ...]:
    refused = pl.col(ROW).str.json_path_match(f"$.{USER_ID}")
    never = pl.lit(None, TIMESTAMP)
    return (
        _Kind(workspace.served_lists, "day=*/*.parquet", pl.col("subject"), pl.col(SERVED_TIME)),
        _Kind(workspace.users, "*.parquet", pl.col(USER_ID), pl.col(UPDATED_TIME)),
        _Kind(workspace.rejects, "*.parquet", refused, never),
    )


def _clean(file: Path, kind: _Kind, tombstones: Tombstones) -> int:
    rows = _table(file).with_columns(kind.subject.alias(_SUBJECT))
    kept = tombstones.living(rows, _SUBJECT, kind.time)
    if kept.height < rows.height:
        with atomic_path(file) as partial:
            kept.drop(_SUBJECT).write_parquet(partial)
    return rows.height - kept.height


def _table(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, hive_partitioning=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file} is damaged; restore it from a backup, or remove it") from error


def _mark(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _read(path: Path) -> dict[str, list[int]]:
    try:
        ledger: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # then everything is swept
    return ledger
