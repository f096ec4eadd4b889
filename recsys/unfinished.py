"""Scratch directories that files are written in before they are renamed into place, and what crashes leave.

A process that is killed between the two leaves its directory behind, perhaps with somebody's data in it. The
kernel lets go of its lock, which tells what is abandoned from what another process is writing now.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.file_lock import exclusive, exclusive_if_free

_LOCK = ".writing"
_NAME = re.compile(r"\..+\.[a-z0-9_]{8}")


@contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A directory beside ``target``, whose own directory exists; removed with what is in it at the end."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        scratch = Path(name)
        with exclusive(scratch / _LOCK):
            scratch.mkdir(exist_ok=True)  # whoever tidies up may have been faster than the lock
            yield scratch


def remove_unfinished(root: Path) -> int:
    """Remove what processes that ended left behind anywhere below a directory; how many scratch directories.

    Raises:
        OSError: One cannot be removed.
    """
    num_removed = 0
    for scratch in sorted(root.rglob(".*.*")):
        if _NAME.fullmatch(scratch.name) and scratch.is_dir():
            num_removed += not _is_in_use(scratch)
    return num_removed


def num_in_use(target: Path) -> int:
    """How many processes have a scratch directory beside ``target``; what others left there is removed.

    Raises:
        OSError: One cannot be removed.
    """
    found = [scratch for scratch in target.parent.glob(f".{target.name}.*") if _NAME.fullmatch(scratch.name)]
    return sum(_is_in_use(scratch) for scratch in found)


def _is_in_use(scratch: Path) -> bool:
    """Whether a process has it; if not, it is removed."""
    with exclusive_if_free(scratch / _LOCK) as is_abandoned:
        if is_abandoned:
            shutil.rmtree(scratch, ignore_errors=True)
    return not is_abandoned
