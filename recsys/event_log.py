"""The event log: everything that happened, in Parquet, and the truth that all else is derived from.

Layout: ``day=YYYY-MM-DD/NAME.parquet`` holds the events of one append that happened on that day (UTC), and
``_commits/NAME.json`` lists the files of that append. A file that no commit lists does not exist for a
reader, so an append becomes visible as a whole, when its commit is renamed into place. What a crash left
behind is removed by the next append.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ValidationError

from recsys.errors import DataError
from recsys.file_lock import exclusive
from recsys.schema import EFFECTIVE_TIME, EVENT_ID, EVENT_SCHEMA, EVENT_TIME, RECEIVED_TIME, TIMESTAMP
from recsys.workspace import atomic_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_EFFECTIVE = pl.min_horizontal(EVENT_TIME, RECEIVED_TIME).alias(EFFECTIVE_TIME)


class _Commit(BaseModel):
    """What one append wrote."""

    first_ms: dict[str, int]
    """File, relative to the log, to its least effective time."""
    end_ms: int | None
    """Greatest effective time, or ``None`` when nothing was appended."""


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
            ``received_time``.

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
        events = events.with_columns(_EFFECTIVE)
        if until_ms is None:
            return events
        return events.filter(pl.col(EFFECTIVE_TIME) < pl.lit(until_ms).cast(TIMESTAMP))

    def append(self, events: pl.DataFrame, name: str) -> None:
        """Add events in one step; a name that was appended before adds nothing.

        Event ids are not compared with those in the log: that is the caller's part, see ``event_ids``.

        Args:
            events: Frame with exactly the columns of ``EVENT_SCHEMA``.
            name: Names this append: letters, digits, ``.``, ``_`` and ``-``, at most 200 characters.

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
            with atomic_path(target) as partial:
                partial.write_text(commit.model_dump_json(), encoding="utf-8")

    def end_ms(self) -> int | None:
        """Greatest effective time in milliseconds since the epoch, or ``None`` for an empty log."""
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
