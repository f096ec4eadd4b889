"""Files of the event log that are no longer as they were written: found by their digests, and set aside.

A file that is set aside lies in the log's ``_damaged``, and its commit knows that there was one: an object
store that has it may bring it back. Until then, or until it is given up, the append is not whole.
"""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import structlog

from recsys.errors import DataError
from recsys.log_commit import Commit, digest
from recsys.log_commits import Commits

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class AsideFile:
    """A file of an append that was set aside."""

    append: str
    file: str
    """Relative to the log."""
    num_rows: int | None
    """Events, or of ``_merges`` logins; ``None`` where nobody can tell any more."""

    @property
    def has_logins(self) -> bool:
        """Whether its rows are logins, and not events."""
        return self.file.startswith("_merges/")


class DamagedFiles:
    """The damaged files of the log under one directory, which need not exist yet."""

    def __init__(self, log: Path) -> None:
        """Args: ``log``, the directory."""
        self._log, self._commits, self._aside = log, Commits(log), log / "_damaged"

    def find(self) -> list[str]:
        """Read every file; those that are not as they were written, relative to the log.

        Raises:
            DataError: A commit is damaged.
        """
        return [file for _, commit in self._commits for file in self.of(commit)]

    def of(self, commit: Commit) -> list[str]:
        """Those of one append."""
        there = (file for file in commit.digests if (self._log / file).is_file())
        return [file for file in there if digest(self._log / file) != commit.digests[file]]

    def set_aside(self) -> list[str]:
        """Take them out of the log, so that the others can be read, and keep them beside it; each is logged.

        Returns:
            The files, relative to the log.

        Raises:
            DataError: A commit is damaged.
        """
        aside: list[str] = []
        with self._commits.lock():
            for name, commit in self._commits:
                damaged = self.of(commit)
                for file in damaged:
                    kept = self._aside / file
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self._log / file, kept)
                    commit = commit.setting_aside(file)  # noqa: PLW2901
                    self._commits.save(name, commit)
                    (self._log / file).unlink()
                    _log.error(
                        "a file of the event log is damaged and set aside; ingest it from a backup",
                        file=file,
                    )
                aside += damaged
        return aside

    def aside(self) -> list[AsideFile]:
        """What was set aside and has neither come back nor been given up.

        Raises:
            DataError: A commit is damaged.
        """
        named = ((name, file) for name, commit in self._commits for file in commit.aside)
        return [AsideFile(name, file, _num_rows(self._aside / file)) for name, file in named]

    def give_up(self, appends: Collection[str]) -> list[AsideFile]:
        """Let appends be whole without what was set aside of them, and remove it.

        May be repeated after a crash: what was done is not done again.

        Args:
            appends: Their names.

        Returns:
            What is lost.

        Raises:
            DataError: A commit is damaged, or what was set aside cannot be removed.
        """
        with self._commits.lock():
            lost = [one for one in self.aside() if one.append in appends]
            for one in lost:
                _remove(self._aside / one.file)
            for name in {one.append for one in lost}:
                self._commits.save(name, self._commits.read(name).model_copy(update={"aside": []}))
        return lost

    def remove(self) -> None:
        """Remove what was set aside; for whoever holds the log's lock.

        Raises:
            DataError: Something stays.
        """
        _remove(self._aside)

    def remove_before(self, before_ms: int) -> None:
        """Remove what was set aside and lies before a time; for whoever holds the log's lock.

        Args:
            before_ms: See ``recsys.log_pruning.prune_log``.

        Raises:
            DataError: A commit is damaged, or something stays.
        """
        last = datetime.fromtimestamp(before_ms / 1000, UTC).date()
        for day in self._aside.glob("day=*"):
            if date.fromisoformat(day.name[4:]) < last:
                _remove(day)
        ends = {name: commit.end_ms for name, commit in self._commits}
        for merges in (self._aside / "_merges").glob("*"):
            if (ends.get(merges.stem) or 0) < before_ms:
                _remove(merges)


def _num_rows(path: Path) -> int | None:
    """How many rows a file says that it has: a damaged one may still be able to."""
    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _remove(path: Path) -> None:
    """Remove a file, or a directory with what is in it; fine when it is not there.

    Raises:
        DataError: Something stays.
    """
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} is to be removed and cannot be: {error}; see that it is writable, or remove it by hand"
        ) from error
