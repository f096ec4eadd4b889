"""The event log: everything that happened, in Parquet, and the truth that all else is derived from.

Layout: ``day=YYYY-MM-DD/NAME.parquet`` holds the events of one append that happened on that day (UTC), and
``_commits/NAME.json`` lists the files of that append. A file that no commit lists does not exist for a
reader, so an append becomes visible as a whole, when its commit is renamed into place. What a crash left
behind is removed by the next append. ``_merges/NAME.parquet`` holds the merges of an append.
"""

import re
import shutil
from collections.abc import Iterator
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
from recsys.workspace import atomic_path

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


class EventLog:
    """The log under one directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._commits = path / "_commits"

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
        files = [
            self._path / file
            for commit in self._read_commits()
            for file, first_ms in commit.first_ms.items()
            if until_ms is None or first_ms < until_ms
        ]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None:
            raise DataError(f"the event log lacks {missing}; restore it, or ingest the events anew")
        events = (
            pl.scan_parquet(files, hive_partitioning=False) if files else pl.LazyFrame(schema=EVENT_SCHEMA)
        )
        events = _with_merges(events.with_columns(_EFFECTIVE), self.merges(until_ms))
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
        return merges.sort(MERGE_TIME, VISITOR)

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
            commit = self._write(events, name)
            if merges is not None and not merges.is_empty():
                commit = self._write_merges(commit, merges, name)
            reach("log-written")
            with atomic_path(target) as partial:
                partial.write_text(commit.model_dump_json(), encoding="utf-8")
            reach("log-committed")

    def end_ms(self) -> int | None:
        """Greatest time of an event or merge, milliseconds since the epoch; ``None`` for an empty log."""
        return max(
            (commit.end_ms for commit in self._read_commits() if commit.end_ms is not None), default=None
        )

    def event_ids(self) -> pl.Series:
        """Ids of all events, in no particular order."""
        return self.scan().select(EVENT_ID).collect()[EVENT_ID]

    def _write(self, events: pl.DataFrame, name: str) -> _Commit:
        first_ms: dict[str, int] = {}
        ends: list[int] = []
        dated = events.sort(EVENT_TIME, EVENT_ID).with_columns(day=pl.col(EVENT_TIME).dt.date())
        for (day,), part in dated.partition_by("day", as_dict=True, include_key=False).items():
            file = f"day={day}/{name}.parquet"
            with atomic_path(self._path / file) as partial:
                part.write_parquet(partial)
            times = _EFFECTIVE.dt.timestamp("ms")
            first_ms[file], end_ms = part.select(first=times.min(), last=times.max()).row(0)
            ends.append(end_ms)
        return _Commit(first_ms=first_ms, end_ms=max(ends, default=None))

    def _write_merges(self, commit: _Commit, merges: pl.DataFrame, name: str) -> _Commit:
        file = f"_merges/{name}.parquet"
        with atomic_path(self._path / file) as partial:
            merges.write_parquet(partial)
        [end_ms] = merges.select(pl.col(MERGE_TIME).max().dt.epoch("ms")).row(0)
        return commit.model_copy(update={"merges": file, "end_ms": max(end_ms, commit.end_ms or 0)})

    def _read_commits(self) -> Iterator[_Commit]:
        for path in sorted(self._commits.glob("*.json")):
            try:
                yield _Commit.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise DataError(
                    f"the event log's commit {path} is damaged; restore it from a backup"
                ) from error

    def _remove_uncommitted(self) -> None:
        committed = {file for commit in self._read_commits() for file in commit.first_ms}
        for path in self._path.glob("day=*/*"):
            if path.relative_to(self._path).as_posix() in committed:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


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
