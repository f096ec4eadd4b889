"""Tells a write-ahead log that was torn at its end, as by a crash, from one that is damaged before it.

SQLite reads such a log up to the first frame that does not check, and forgets the rest without a word. A
commit at the end was then never acknowledged; commits that follow it were.

Source: https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, sequence, salts, checksums
_FRAME: Final = struct.Struct(">6I")  # page number, pages after a commit or 0, salts, checksums


def commits_in(log: Path) -> list[int]:
    """Numbers of the frames, from 1, that claim to end a commit, as far as the log was written this time.

    Args:
        log: The file beside the database; it need not exist.
    """
    raw = log.read_bytes() if log.exists() else b""
    if len(raw) < _HEADER.size:
        return []
    _, _, page, _, *salts, _, _ = _HEADER.unpack_from(raw)
    commits, size = [], _FRAME.size + page
    for number, start in enumerate(range(_HEADER.size, len(raw) - size + 1, size), 1):
        _, pages, *own, _, _ = _FRAME.unpack_from(raw, start)
        if own != salts:
            break
        if pages:
            commits.append(number)
    return commits


def num_lost(commits: list[int], num_frames: int) -> int:
    """Commits that were acknowledged and are gone; one at the very end may be torn, and was not.

    Args:
        commits: What ``commits_in`` found before the database was opened.
        num_frames: Frames that SQLite then read, as ``PRAGMA wal_checkpoint`` says.
    """
    gone = [number for number in commits if number > num_frames]
    return len(gone) - 1 if gone else 0
