"""What was changed in the catalogue since it was ingested: a durable row per item, the last change wins.

Items that were put in or taken out while servers run stand here until an ingest brings newer ones, or every
model knows them, see ``recsys.change_pruning``. Sequence
numbers ascend in the order of commits and are never used twice, so a reader that has seen number n asks for
what is above it. The catalogue is what was ingested with these rows over it, see ``recsys.tables``.
"""

import io
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.errors import CatalogueError
from recsys.schema import AVAILABLE, CREATED_TIME, ITEM_ID, ITEM_SCHEMA

CHANGES_FILE = "catalogue.sqlite"
"""Name of the file in ``Workspace.state``."""

_BUSY_SECONDS = 5.0
_IDS_AT_ONCE = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    item_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, for_sale INTEGER NOT NULL, item TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS changes_sequence ON changes (sequence);
"""
_PUT = "INSERT OR REPLACE INTO changes (item_id, sequence, for_sale, item) VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM changes WHERE item_id = ? AND sequence = ?"
_LATEST = "SELECT COALESCE(MAX(sequence), 0) FROM changes"
_COLUMNS = "SELECT sequence, item_id, for_sale, item FROM changes"
_MILLISECONDS = pl.Schema({**ITEM_SCHEMA, CREATED_TIME: pl.Int64()})


@dataclass(frozen=True)
class ItemChange:
    """The last change of one item."""

    sequence: int
    item_id: str
    is_for_sale: bool
    """Whether it may be offered: false for a deleted item and for one that is not available."""
    item: str | None
    """The item's row as JSON, see ``changed_rows``; ``None`` when it was deleted."""


class ItemChanges:
    """The changes in a SQLite file in WAL mode, on disk once a method returns; any thread may call any."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is created when absent.

        Raises:
            CatalogueError: It does not open.
        """
        self._path, self._lock = path, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            self._inode = path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            raise CatalogueError(f"the catalogue's changes {path} do not open: {error}") from error

    def put(self, items: pl.DataFrame) -> int:
        """Add or replace items.

        Args:
            items: Columns of ``ITEM_SCHEMA``, checked, ids distinct.

        Returns:
            The sequence number of the last one.

        Raises:
            CatalogueError: Nothing was stored.
        """
        for_sale = items[AVAILABLE].fill_null(value=True).to_list()
        lines = as_json(items)
        return self._append(list(zip(items[ITEM_ID].to_list(), for_sale, lines, strict=True)))

    def delete(self, item_ids: Sequence[str]) -> int:
        """Take items out, whether anybody knows them or not; otherwise as ``put``."""
        return self._append([(item_id, False, None) for item_id in dict.fromkeys(item_ids)])

    def latest(self) -> int:
        """Sequence number of the last change, 0 when there is none.

        Raises:
            CatalogueError: It cannot be told, or the file was moved away from under this process.
        """
        with self._reading() as connection:
            return int(connection.execute(_LATEST).fetchone()[0])

    def since(self, sequence: int) -> list[ItemChange]:
        """The last change of every item that changed after a number, ascending; raises as ``latest``."""
        with self._reading() as connection:
            return [
                ItemChange(row[0], row[1], bool(row[2]), row[3])
                for row in connection.execute(f"{_COLUMNS} WHERE sequence > ? ORDER BY sequence", (sequence,))
            ]

    def of(self, item_ids: Sequence[str]) -> dict[str, ItemChange]:
        """The last change of those items that have one, by id; raises as ``latest``."""
        found = {}
        with self._reading() as connection:
            for start in range(0, len(item_ids), _IDS_AT_ONCE):
                ids = list(item_ids[start : start + _IDS_AT_ONCE])
                places = ", ".join("?" * len(ids))
                for row in connection.execute(f"{_COLUMNS} WHERE item_id IN ({places})", ids):
                    found[row[1]] = ItemChange(row[0], row[1], bool(row[2]), row[3])
        return found

    def forget(self, changes: Sequence[ItemChange]) -> int:
        """Remove changes, but not of items that changed again, nor the very last one; how many went.

        The last one stays for the sake of its number: the next has a higher one.

        Raises:
            CatalogueError: Nothing was removed.
        """
        rows = [(change.item_id, change.sequence) for change in changes]
        try:
            self._require_in_place()
            with self._lock, self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                last = int(connection.execute(_LATEST).fetchone()[0])
                old = [row for row in rows if row[1] < last]
                return connection.executemany(_FORGET, old).rowcount if old else 0
        except (sqlite3.Error, OSError) as error:
            raise CatalogueError(f"the catalogue's changes were not pruned: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _append(self, rows: Sequence[tuple[str, bool, str | None]]) -> int:
        try:
            self._require_in_place()
            with self._lock, self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                last = int(connection.execute(_LATEST).fetchone()[0])
                numbered = [(row[0], last + 1 + i, *row[1:]) for i, row in enumerate(rows)]
                connection.executemany(_PUT, numbered)
        except (sqlite3.Error, OSError) as error:
            raise CatalogueError(f"the catalogue's changes were not stored: {error}") from error
        return last + len(rows)

    def _require_in_place(self) -> None:
        """What is written to a file that was moved away is lost, and what others write is not seen."""
        if self._path.stat().st_ino != self._inode:
            raise CatalogueError(f"{self._path} is another file than was opened; restart the server")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            self._require_in_place()
            with self._lock:
                yield self._connection
        except (sqlite3.Error, OSError) as error:
            raise CatalogueError(f"the catalogue's changes cannot be read: {error}") from error


def changed_rows(changes: Sequence[ItemChange]) -> pl.DataFrame:
    """The items of those changes that are no deletions: columns of ``ITEM_SCHEMA``, in the same order."""
    lines = [change.item for change in changes if change.item is not None]
    if not lines:
        return pl.DataFrame(schema=ITEM_SCHEMA)
    rows = pl.read_ndjson(io.StringIO("\n".join(lines)), schema=_MILLISECONDS)
    return rows.cast(ITEM_SCHEMA)


def as_json(items: pl.DataFrame) -> list[str]:
    """One JSON document per row, times in milliseconds since the epoch."""
    if items.is_empty():
        return []
    return items.cast({CREATED_TIME: pl.Int64()}).write_ndjson().removesuffix("\n").split("\n")
