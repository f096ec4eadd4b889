"""What SQLite leaves of deleted rows: nothing, once both functions have run.

Ordinarily it only marks a row's place as free, and the journal keeps old pages until they are overwritten.
"""

import sqlite3

import structlog

_OVERWRITES = 1
"""``PRAGMA user_version`` of a file from which deleted rows were always overwritten."""
_log = structlog.get_logger(__name__)


def overwrite_deleted(connection: sqlite3.Connection) -> None:
    """Overwrite with zeros what this connection deletes; a file from before is written anew once."""
    connection.execute("PRAGMA secure_delete = ON")
    if connection.execute("PRAGMA user_version").fetchone()[0] >= _OVERWRITES:
        return
    try:
        connection.execute("VACUUM")
        connection.execute(f"PRAGMA user_version = {_OVERWRITES}")
    except sqlite3.OperationalError as error:  # another process uses it; the next start tries again
        _log.info("a file is not written anew while it is in use", reason=str(error))


def truncate_journal(connection: sqlite3.Connection) -> bool:
    """Move the journal into the file and empty it; whether that was possible, for others may be reading."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
