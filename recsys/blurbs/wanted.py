"""Blurbs that lists would have shown and that there were none of: what to make next, most wanted first.

Servers add to it off the request path; ``recsys blurbs generate`` takes from it. It is a SQLite file of its
own in the workspace's state, and may be lost.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Final

from recsys.blurbs.row import BlurbSlot
from recsys.errors import BlurbError

WANTED_FILE: Final = "blurbs_wanted.sqlite"
"""Its name in ``Workspace.state``."""
MAX_WANTED: Final = 100_000
"""Most slots that are remembered; the least wanted are forgotten first."""

_BUSY_SECONDS: Final = 1.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS wanted (slot TEXT PRIMARY KEY, impressions INTEGER NOT NULL) WITHOUT ROWID
"""
_ADD: Final = """
INSERT INTO wanted VALUES (?, ?)
ON CONFLICT (slot) DO UPDATE SET impressions = impressions + excluded.impressions
"""
_PRUNE: Final = """
DELETE FROM wanted WHERE slot IN
    (SELECT slot FROM wanted ORDER BY impressions DESC, slot LIMIT -1 OFFSET ?)
"""
_MOST: Final = "SELECT slot, impressions FROM wanted ORDER BY impressions DESC, slot LIMIT ?"


class WantedBlurbs:
    """One process's access to the file; any thread may call any method, and all raise ``BlurbError``."""

    def __init__(self, path: Path, *, most: int = MAX_WANTED) -> None:
        """Open the file, or make it."""
        self._lock = threading.Lock()
        self._most = most
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise BlurbError(f"{path} does not open: {error}; see that it is writable") from error

    def add(self, impressions: Mapping[BlurbSlot, int]) -> None:
        """Count what was wanted.

        Args:
            impressions: Times that each slot would have been shown.
        """
        rows = [(_text(slot), number) for slot, number in impressions.items()]
        self._change([(_ADD, rows), (_PRUNE, [(self._most,)])])

    def most(self, limit: int) -> list[tuple[BlurbSlot, int]]:
        """Slots and their impressions, the most wanted first."""
        with self._lock:
            try:
                found = self._connection.execute(_MOST, (limit,)).fetchall()
            except sqlite3.Error as error:
                raise _failed(error) from error
        return [(BlurbSlot(*json.loads(slot)), number) for slot, number in found]

    def forget(self, slots: Iterable[BlurbSlot]) -> None:
        """Take out what has been asked for."""
        self._change([("DELETE FROM wanted WHERE slot = ?", [(_text(slot),) for slot in slots])])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _change(self, statements: Iterable[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    for statement, rows in statements:
                        self._connection.executemany(statement, rows)
            except sqlite3.Error as error:
                raise _failed(error) from error


def take_wanted(path: Path, limit: int) -> list[tuple[BlurbSlot, int]]:
    """The most wanted slots with their impressions, out of the file; none where there is no file.

    Raises:
        BlurbError: It cannot be read or written.
    """
    if not path.exists():
        return []
    wanted = WantedBlurbs(path)
    try:
        found = wanted.most(limit)
        wanted.forget([slot for slot, _ in found])
        return found
    finally:
        wanted.close()


def _text(slot: BlurbSlot) -> str:
    return json.dumps(astuple(slot), ensure_ascii=False)


def _failed(error: sqlite3.Error) -> BlurbError:
    return BlurbError(f"what blurbs are wanted cannot be read or written: {error}")
