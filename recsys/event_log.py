"""The event log: everything that happened, in Parquet, and the truth that all else is derived from.

Layout: ``day=YYYY-MM-DD/NAME.parquet`` holds the events of one append that happened on that day (UTC), and
``_commits/NAME.json`` lists the files of that append. A file that no commit lists does not exist for a
reader, so an append becomes visible as a whole, when its commit is renamed into place. What a crash left
behind is removed by the next append. ``_merges/NAME.parquet`` holds the merges of an append. A commit knows
the digests of its files; a file that is no longer as it was written is set aside in ``_damaged``.

What an erased person did is never read, see ``recsys.tombstones``; ``forget_erased`` takes it off the disk.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ValidationError

from recsys.errors import DataError
from recsys.fault_point import reach
from recsys.file_lock import exclusive
from recsys.schema import (
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    MERGE_SCHEMA,
    MERGE_TIME,
    MERGED_INTO,
    RECEIVED_TIME,
    TIMESTAMP,
    USER_ID,
    VISITOR,
)
from recsys.tombstones import Tombstones, living
from recsys.workspace import atomic_path

_DAMAGED = "_damaged"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_EFFECTIVE = pl.min_horizontal(EVENT_TIME, RECEIVED_TIME).alias(EFFECTIVE_TIME)


class _Commit(BaseModel):
    """What one append wrote."""

    first_ms: dict[str, int]
    """File, relative to the log, to its least effective time."""
    end_ms: int | None
    """Greatest effective time, or ``None`` when nothing was appended."""
    merges: str | None = None
    """File of the merges, relative to the log, or ``None`` when there are none."""
    num_erasures: int = 0
    """Tombstones that were there when its files were written: of those, nothing is in them."""
    digests: dict[str, str] = {}
    """SHA-256 of its files; of one that is being rewritten, or is older than digests are, there is none."""

    @property
    def files(self) -> list[str]:
        """All of them, relative to the log."""
        return [*self.first_ms, *([] if self.merges is None else [self.merges])]

    def without(self, file: str) -> "_Commit":
        """The commit of the other files."""
        first_ms = {one: first for one, first in self.first_ms.items() if one != file}
        merges = None if self.merges == file else self.merges
        return self.with_digest(file, None).model_copy(update={"first_ms": first_ms, "merges": merges})

    def with_digest(self, file: str, digest: str | None) -> "_Commit":
        """The commit with another digest of a file, or with none."""
        others = {one: of for one, of in self.digests.items() if one != file}
        return self.model_copy(update={"digests": others if digest is None else others | {file: digest}})


class EventLog:
    """The log under one directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._commits = path / "_commits"
        self._tombstones = Tombstones(path.parent)

    def scan(self, until_ms: int | None = None) -> pl.LazyFrame:
        """Read the events visible at a time, in no particular order.

        Args:
            until_ms: Only events whose effective time is strictly before this, in milliseconds since the
                epoch; ``None`` for all of them.

        Returns:
            Columns of ``EVENT_SCHEMA`` and ``effective_time``, the earlier of ``event_time`` and
            ``received_time``. A log with merges that are visible also has ``merged_into`` and
            ``merge_time``: to whom a visitor's event counts later, and from when on.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        clean: list[Path] = []
        behind: list[Path] = []
        num_erasures = len(self._tombstones)
        for commit in self._read_commits():
            files = clean if commit.num_erasures >= num_erasures else behind
            files += [
                self._path / file
                for file, first_ms in commit.first_ms.items()
                if until_ms is None or first_ms < until_ms
            ]
        missing = next((file for file in (*clean, *behind) if not file.is_file()), None)
        if missing is not None:
            raise DataError(f"the event log lacks {missing}; restore it, or ingest the events anew")
        events = self._living(behind, clean).with_columns(_EFFECTIVE)
        events = _with_merges(events, self.merges(until_ms))
        if until_ms is None:
            return events
        return events.filter(pl.col(EFFECTIVE_TIME) < pl.lit(until_ms).cast(TIMESTAMP))

    def merges(self, until_ms: int | None = None) -> pl.DataFrame:
        """Which visitor was which user from when on: ``MERGE_SCHEMA``, in order of time.

        Args:
            until_ms: Only merges strictly before this, in milliseconds since the epoch; ``None`` for all.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        files = [self._path / commit.merges for commit in self._read_commits() if commit.merges is not None]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None:
            raise DataError(f"the event log lacks {missing}; restore it from a backup")
        merges = pl.concat([pl.DataFrame(schema=MERGE_SCHEMA), *map(pl.read_parquet, files)])
        if until_ms is not None:
            merges = merges.filter(pl.col(MERGE_TIME) < pl.lit(until_ms).cast(TIMESTAMP))
        return self._living_merges(merges).sort(MERGE_TIME, VISITOR)

    def append(self, events: pl.DataFrame, name: str, *, merges: pl.DataFrame | None = None) -> None:
        """Add events in one step; a name that was appended before adds nothing.

        Event ids are not compared with those in the log: that is the caller's part, see ``event_ids``.

        Args:
            events: Frame with exactly the columns of ``EVENT_SCHEMA``.
            name: Names this append: letters, digits, ``.``, ``_`` and ``-``, at most 200 characters.
            merges: Frame with the columns of ``MERGE_SCHEMA``.

        Raises:
            ValueError: The name or the columns are not as described.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"append name {name!r} must be letters, digits, '.', '_' or '-'")
        if events.schema != EVENT_SCHEMA:
            raise ValueError(f"expected the columns of EVENT_SCHEMA, got {events.schema}")
        with exclusive(self._path / ".lock"):
            target = self._commits / f"{name}.json"
            if target.exists():
                return
            self._remove_uncommitted()
            num_erasures = len(self._tombstones)  # first: what is erased meanwhile is found again
            commit = self._write(self._tombstones.living(events, USER_ID, _EFFECTIVE), name)
            if merges is not None and not (merges := self._living_merges(merges)).is_empty():
                commit = self._write_merges(commit, merges, name)
            reach("log-written")
            _save(commit.model_copy(update={"num_erasures": num_erasures}), target)
            reach("log-committed")

    def forget_erased(self, leaving: Callable[[list[str]], object] = len) -> list[str]:
        """Rewrite the files that hold something of erased people; each is the old one or the new one.

        May be repeated after a crash: what was done is not done again.

        Args:
            leaving: Called with the ids of events before they go, since a crash would make nobody know them.

        Returns:
            Ids of the events that went.

        Raises:
            DataError: A commit is damaged, or one of its files is gone.
        """
        gone: list[str] = []
        with exclusive(self._path / ".lock"):
            self._remove_uncommitted()
            num_erasures = len(self._tombstones)
            for path, commit in self._named_commits():
                if commit.num_erasures >= num_erasures:
                    continue
                cleaned = commit
                for file in commit.first_ms:
                    cleaned, ids = self._clean(file, cleaned, path, leaving)
                    gone += ids
                if commit.merges is not None:
                    merges = pl.read_parquet(self._path / commit.merges)
                    cleaned = self._rewrite(commit.merges, merges, self._living_merges(merges), cleaned, path)
                _save(cleaned.model_copy(update={"num_erasures": num_erasures}), path)
            shutil.rmtree(self._path / _DAMAGED, ignore_errors=True)  # what cannot be read cannot be searched
        return gone

    def prune(self, before_ms: int) -> int:
        """Remove the events and merges that happened before a time; how many events went.

        Whole days are removed: a day stays until its end lies before the time.

        Raises:
            DataError: A commit is damaged.
        """
        last = datetime.fromtimestamp(before_ms / 1000, UTC).date()
        num_events = 0
        with exclusive(self._path / ".lock"):
            self._remove_uncommitted()
            for path, commit in self._named_commits():
                old = [file for file in commit.first_ms if date.fromisoformat(file[4:14]) < last]
                if not old and commit.merges is None:
                    continue
                num_events += sum(
                    pl.scan_parquet(self._path / f).select(pl.len()).collect().item() for f in old
                )
                for file in old:
                    commit = commit.without(file)  # noqa: PLW2901
                _save(commit, path)
                if commit.merges is not None:
                    self._prune_merges(commit.merges, commit, path, before_ms)
            self._remove_uncommitted()
            for day in (self._path / _DAMAGED).glob("day=*"):
                if date.fromisoformat(day.name[4:]) < last:
                    shutil.rmtree(day)
        return num_events

    def damaged(self) -> list[str]:
        """Read every file; those that are not as they were written, relative to the log.

        Raises:
            DataError: A commit is damaged.
        """
        return [file for _, commit in self._named_commits() for file in self._damaged(commit)]

    def set_aside_damaged(self) -> list[str]:
        """Take the damaged files out of the log, so that the others can be read, and keep them beside it.

        Returns:
            The files, relative to the log; they are in its ``_damaged`` now.

        Raises:
            DataError: A commit is damaged.
        """
        aside: list[str] = []
        with exclusive(self._path / ".lock"):
            for path, commit in self._named_commits():
                damaged = self._damaged(commit)
                for file in damaged:
                    kept = self._path / _DAMAGED / file
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self._path / file, kept)
                    _save(commit := commit.without(file), path)
                    (self._path / file).unlink()
                aside += damaged
        return aside

    def _damaged(self, commit: _Commit) -> list[str]:
        there = (file for file in commit.digests if (self._path / file).is_file())
        return [file for file in there if _digest(self._path / file) != commit.digests[file]]

    def end_ms(self) -> int | None:
        """Greatest time of an event or merge, milliseconds since the epoch; ``None`` for an empty log."""
        return max(
            (commit.end_ms for commit in self._read_commits() if commit.end_ms is not None), default=None
        )

    def names(self) -> list[str]:
        """What was appended, by name; also what holds nothing any more."""
        return [path.stem for path in self._commits.glob("*.json")]

    def event_ids(self) -> pl.Series:
        """Ids of all events, in no particular order."""
        return self.scan().select(EVENT_ID).collect()[EVENT_ID]

    def _living(self, behind: list[Path], clean: list[Path]) -> pl.LazyFrame:
        """Events of files that were written before the last erasures, and of others, without the erased."""
        events = pl.scan_parquet(clean, hive_partitioning=False) if clean else None
        if behind:
            older = pl.scan_parquet(behind, hive_partitioning=False)
            erased = self._tombstones.of(older.select(pl.col(USER_ID).unique()).collect()[USER_ID])
            older = living(older, USER_ID, _EFFECTIVE, erased)
            events = older if events is None else pl.concat([events, older])
        return pl.LazyFrame(schema=EVENT_SCHEMA) if events is None else events

    def _living_merges(self, merges: pl.DataFrame) -> pl.DataFrame:
        at = pl.col(MERGE_TIME)
        return self._tombstones.living(self._tombstones.living(merges, VISITOR, at), USER_ID, at)

    def _clean(
        self, file: str, commit: _Commit, path: Path, leaving: Callable[[list[str]], object]
    ) -> tuple[_Commit, list[str]]:
        """Take the erased people's events out of a file; its commit, and the ids of what went."""
        users = pl.read_parquet(self._path / file, columns=[USER_ID])[USER_ID]
        if self._tombstones.of(users).is_empty():
            return commit, []
        events = pl.read_parquet(self._path / file, hive_partitioning=False)
        kept = self._tombstones.living(events, USER_ID, _EFFECTIVE)
        gone = events.join(kept, on=EVENT_ID, how="anti")[EVENT_ID].to_list()
        leaving(gone)
        return self._rewrite(file, events, kept, commit, path), gone

    def _prune_merges(self, file: str, commit: _Commit, path: Path, before_ms: int) -> None:
        merges = pl.read_parquet(self._path / file)
        kept = merges.filter(pl.col(MERGE_TIME) >= pl.lit(before_ms).cast(TIMESTAMP))
        _save(self._rewrite(file, merges, kept, commit, path), path)

    def _rewrite(
        self, file: str, rows: pl.DataFrame, kept: pl.DataFrame, commit: _Commit, path: Path
    ) -> _Commit:
        """Replace a file by those of its rows that are kept; its commit, which is to be saved."""
        if kept.height == rows.height:
            return commit
        commit = commit.with_digest(file, None)
        _save(commit, path)  # first: a crash leaves a file without a digest, and none with a wrong one
        return commit.with_digest(file, _write_table(kept, self._path / file))

    def _write(self, events: pl.DataFrame, name: str) -> _Commit:
        first_ms: dict[str, int] = {}
        digests: dict[str, str] = {}
        ends: list[int] = []
        dated = events.sort(EVENT_TIME, EVENT_ID).with_columns(day=pl.col(EVENT_TIME).dt.date())
        for (day,), part in dated.partition_by("day", as_dict=True, include_key=False).items():
            file = f"day={day}/{name}.parquet"
            digests[file] = _write_table(part, self._path / file)
            times = _EFFECTIVE.dt.timestamp("ms")
            first_ms[file], end_ms = part.select(first=times.min(), last=times.max()).row(0)
            ends.append(end_ms)
        return _Commit(first_ms=first_ms, end_ms=max(ends, default=None), digests=digests)

    def _write_merges(self, commit: _Commit, merges: pl.DataFrame, name: str) -> _Commit:
        file = f"_merges/{name}.parquet"
        digest = _write_table(merges, self._path / file)
        [end_ms] = merges.select(pl.col(MERGE_TIME).max().dt.epoch("ms")).row(0)
        return commit.with_digest(file, digest).model_copy(
            update={"merges": file, "end_ms": max(end_ms, commit.end_ms or 0)}
        )

    def _read_commits(self) -> Iterator[_Commit]:
        return (commit for _, commit in self._named_commits())

    def _named_commits(self) -> Iterator[tuple[Path, _Commit]]:
        for path in sorted(self._commits.glob("*.json")):
            try:
                yield path, _Commit.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise DataError(
                    f"the event log's commit {path} is damaged; restore it from a backup"
                ) from error

    def _remove_uncommitted(self) -> None:
        committed = {file for commit in self._read_commits() for file in commit.files}
        for path in [*self._path.glob("day=*/*"), *self._path.glob("_merges/*")]:
            if path.relative_to(self._path).as_posix() in committed:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _height(path: Path) -> int:
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def _write_table(table: pl.DataFrame, path: Path) -> str:
    """Write a file, or replace it; its digest."""
    with atomic_path(path) as partial:
        table.write_parquet(partial)
        return _digest(partial)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _save(commit: _Commit, path: Path) -> None:
    with atomic_path(path) as partial:
        partial.write_text(commit.model_dump_json(), encoding="utf-8")


def _with_merges(events: pl.LazyFrame, merges: pl.DataFrame) -> pl.LazyFrame:
    """The events with the first merge of their visitor that is not before them; unchanged without merges."""
    if merges.is_empty():
        return events
    by_visitor = merges.select(
        pl.col(VISITOR).alias(USER_ID),
        pl.col(USER_ID).alias(MERGED_INTO),
        MERGE_TIME,
        after=pl.col(MERGE_TIME).shift(1).over(VISITOR),
    )
    later = by_visitor.group_by(USER_ID).agg(
        pl.lit(None, pl.String).alias(MERGED_INTO),
        pl.lit(None, TIMESTAMP).alias(MERGE_TIME),
        after=pl.col(MERGE_TIME).max(),
    )
    spans = pl.concat([by_visitor, later])  # every moment lies in one span of its visitor
    inside = pl.col("after").is_null() | (pl.col(EFFECTIVE_TIME) > pl.col("after"))
    inside &= pl.col(MERGE_TIME).is_null() | (pl.col(EFFECTIVE_TIME) <= pl.col(MERGE_TIME))
    return events.join(spans.lazy(), on=USER_ID, how="left").filter(inside).drop("after")
