"""What an event log consists of: its commits by the names of the appends, and the files that they list.

Reading the log, adding to it and its upkeep all go through here. What no commit lists does not exist.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.file_lock import exclusive
from recsys.log_commit import Commit, write_table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Commits:
    """The commits of the log under one directory, which need not exist yet."""

    def __init__(self, log: Path) -> None:
        """Args: ``log``, the directory."""
        self.log = log
        self._directory = log / "_commits"

    def lock(self) -> AbstractContextManager[None]:
        """What whoever changes the log holds meanwhile."""
        return exclusive(self.log / ".lock")

    def names(self) -> list[str]:
        """What was appended, by name, in the order of the names; also what holds nothing any more."""
        return [path.stem for path in sorted(self._directory.glob("*.json"))]

    def __contains__(self, name: str) -> bool:
        """Whether something was appended under a name."""
        return self._path(name).exists()

    def __iter__(self) -> Iterator[tuple[str, Commit]]:
        """All of them with their names, in that order, each read when it comes.

        Raises:
            DataError: One is damaged.
        """
        return ((name, self.read(name)) for name in self.names())

    def read(self, name: str) -> Commit:
        """The commit of one append.

        Raises:
            DataError: It is damaged.
            FileNotFoundError: There is no such append.
        """
        return Commit.load(self._path(name))

    def save(self, name: str, commit: Commit) -> None:
        """Let an append hold what a commit says: all of that is in its place."""
        commit.save(self._path(name))

    def lost(self) -> list[Path]:
        """The files that should be there and are not.

        Raises:
            DataError: A commit is damaged.
        """
        return self._lost(file for _, commit in self for file in commit.files)

    def require(self, files: Iterable[str]) -> None:
        """Refuse to go on where a file is not there.

        Args:
            files: Relative to the log.

        Raises:
            DataError: One is gone.
        """
        if lost := self._lost(files):
            raise DataError(
                f"the event log lacks {lost[0]}; restore it from a backup, or ingest the events anew"
            )

    def rewrite(self, name: str, commit: Commit, file: str, rows: pl.DataFrame, kept: pl.DataFrame) -> Commit:
        """Replace a file by those of its rows that are kept.

        Returns:
            The commit after it, which is to be saved.
        """
        if kept.height == rows.height:
            return commit
        commit = commit.with_digest(file, None)
        self.save(name, commit)  # first: a crash leaves a file without a digest, and none with a wrong one
        return commit.with_digest(file, write_table(kept, self.log / file))

    def remove_uncommitted(self) -> None:
        """Remove what no commit lists, as crashes leave it; for whoever holds the lock.

        Raises:
            DataError: A commit is damaged.
        """
        committed = {file for _, commit in self for file in commit.files}
        for path in [*self.log.glob("day=*/*"), *self.log.glob("_merges/*")]:
            if path.relative_to(self.log).as_posix() in committed:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _lost(self, files: Iterable[str]) -> list[Path]:
        return [path for file in files if not (path := self.log / file).is_file()]

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def check_name(name: str) -> None:
    """Refuse what cannot name an append: letters, digits, ``.``, ``_`` and ``-``, at most 200 characters.

    Raises:
        ValueError: It is something else.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"append name {name!r} must be letters, digits, '.', '_' or '-'")
