"""Vectors of texts that came after training, read by one process for all: a cache that may be deleted."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recsys.errors import CatalogueError
from recsys.live_parts import TextVectors

CACHE_FILE = "text-vectors.sqlite"
"""Name of the file in ``Workspace.state``."""

_BUSY_SECONDS = 5.0
_TEXTS_AT_ONCE = 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (version, text, tuned, words, PRIMARY KEY (version, text)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readers (version PRIMARY KEY, reader, until);
"""
_TAKE = """
INSERT INTO readers VALUES (?, ?, ?) ON CONFLICT (version) DO UPDATE SET reader = excluded.reader,
until = excluded.until WHERE until < ? OR reader = excluded.reader RETURNING reader
"""


class TextVectorCache:
    """A SQLite file, by model version and text; any thread may call any method."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is created when absent.

        Raises:
            CatalogueError: It does not open.
        """
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise CatalogueError(f"the cache of text vectors {path} does not open: {error}") from error

    def find(self, version: str, texts: Sequence[str]) -> dict[str, TextVectors]:
        """Those of the texts that were read for a version.

        Raises:
            CatalogueError: The file cannot be read.
        """
        found = {}
        with self._transaction() as connection:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                some = list(texts[start : start + _TEXTS_AT_ONCE])
                places = ", ".join("?" * len(some))
                query = f"SELECT text, tuned, words FROM vectors WHERE version = ? AND text IN ({places})"
                for text, tuned, words in connection.execute(query, (version, *some)):
                    found[text] = TextVectors(np.frombuffer(tuned, np.int8), np.frombuffer(words, np.int8))
        return found

    def keep(self, version: str, vectors: Mapping[str, TextVectors]) -> None:
        """Store vectors for a version; raises as ``find``."""
        rows = [(version, text, one.tuned.tobytes(), one.words.tobytes()) for text, one in vectors.items()]
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)

    def take_turn(self, version: str, reader: str, seconds: float) -> bool:
        """Whether a reader may read a version's texts now, for some seconds; nobody else may meanwhile.

        Args:
            version: Whose encoder.
            reader: Who asks; asking again prolongs the turn.
            seconds: How long the turn is, should the reader be heard of no more.
        """
        now = time.time()
        with self._transaction() as connection:
            return connection.execute(_TAKE, (version, reader, now + seconds, now)).fetchone() is not None

    def end_turn(self, version: str, reader: str) -> None:
        """Let others read; raises as ``find``."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM readers WHERE version = ? AND reader = ?", (version, reader))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._connection as connection:
                connection.execute("BEGIN")
                yield connection
        except sqlite3.Error as error:
            raise CatalogueError(f"the cache of text vectors failed: {error}") from error
