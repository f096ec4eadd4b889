"""The SQLite file of the book: its tables, and transactions in which every change leaves a line behind."""

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from recsys.errors import BlurbError

BOOK_FILE: Final = "blurbs.sqlite"
"""Name of the book in ``Workspace.state``."""

_BUSY_SECONDS: Final = 10.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blurbs (
    key TEXT PRIMARY KEY,
    item_id TEXT NOT NULL, language TEXT NOT NULL, segment TEXT NOT NULL, length TEXT NOT NULL,
    policy TEXT NOT NULL,
    facts TEXT NOT NULL, facts_hash TEXT NOT NULL, category TEXT NOT NULL, seller TEXT,
    prompt_version TEXT NOT NULL, model TEXT NOT NULL, gate_version TEXT NOT NULL,
    priority REAL NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER NOT NULL DEFAULT 0, fence INTEGER NOT NULL DEFAULT 0,
    text TEXT NOT NULL DEFAULT '', source TEXT NOT NULL DEFAULT 'GENERATED',
    ai_generated INTEGER NOT NULL DEFAULT 0,
    fact_ids TEXT NOT NULL DEFAULT '[]', verdict TEXT NOT NULL DEFAULT '',
    blurb_id TEXT NOT NULL DEFAULT '', checked_hash TEXT NOT NULL DEFAULT '',
    generated_at INTEGER NOT NULL DEFAULT 0, fresh_until INTEGER NOT NULL DEFAULT 0,
    stale_until INTEGER NOT NULL DEFAULT 0, retry_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blurbs_slot ON blurbs (item_id, policy, segment, language, length, state);
CREATE INDEX IF NOT EXISTS blurbs_queue ON blurbs (state, priority);
CREATE INDEX IF NOT EXISTS blurbs_id ON blurbs (blurb_id);
CREATE INDEX IF NOT EXISTS blurbs_category ON blurbs (category, state);
CREATE TABLE IF NOT EXISTS audit (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, key TEXT, slot TEXT, detail TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TABLE IF NOT EXISTS revocations (
    kind TEXT NOT NULL, value TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (kind, value)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS switches (scope TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (scope, name))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS identity (book_id TEXT NOT NULL);
"""


class BookFile:
    """One connection, for any thread; other processes may have theirs."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            BlurbError: It cannot be opened.
        """
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self.transaction():
                self._create()
        except (sqlite3.Error, OSError) as error:
            raise BlurbError(f"the book {path} does not open: {error}; see that it is writable") from error

    @property
    def book_id(self) -> str:
        """Tells this book from another."""
        return str(self.rows("SELECT book_id FROM identity")[0][0])

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """What a statement finds.

        Raises:
            BlurbError: The file cannot be read.
        """
        with self._lock, _clear():
            return self._connection.execute(sql, tuple(values)).fetchall()

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement, and return how many rows it changed.

        Raises:
            BlurbError: The file cannot be written.
        """
        with self._lock, _clear():
            return self._connection.execute(sql, tuple(values)).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within, or none; nobody else writes meanwhile.

        Raises:
            BlurbError: The file cannot be written.
        """
        with self._lock:
            with _clear():
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            with _clear():
                self._connection.execute("COMMIT")

    def note(
        self,
        time_ms: int,
        actor: str,
        action: str,
        *,
        key: str | None = None,
        slot: Sequence[str] | None = None,
        detail: Any = None,  # noqa: ANN401  # whatever JSON holds
    ) -> None:
        """Add a line to the audit, within a transaction of what it tells."""
        place = None if slot is None else json.dumps(list(slot), ensure_ascii=False)
        self.change(
            "INSERT INTO audit (time, actor, action, key, slot, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (time_ms, actor, action, key, place, json.dumps(detail, ensure_ascii=False)),
        )

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _create(self) -> None:
        for statement in _statements():
            self._connection.execute(statement)
        if not self._connection.execute("SELECT 1 FROM identity").fetchone():
            self._connection.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
            self._connection.execute("INSERT INTO fences VALUES (0)")


def _statements() -> Iterator[str]:
    """The schema's statements; ``executescript`` would end the transaction."""
    statement = ""
    for line in _SCHEMA.splitlines():
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def _clear() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BlurbError(f"the book of blurbs cannot be read or written: {error}") from error
