"""The event log as it stood when a training began, so that its stages can read what they need of it.

A log without shards is read into memory once, which is fastest. A log in shards of users is copied into
temporary files: once in the order of a log without shards, for what is summed over everybody, and once by
shard, for what is computed of each user. They do not change while the log does.

Either way the copy has a scratch directory beside ``LOG_COPY`` from before the log is read until the copy
goes: an erasure tells by it that a training still holds what it took away.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from recsys.event_log import LOG_COPY, READERS_LOCK, EventLog
from recsys.file_lock import shared
from recsys.schema import MERGED_INTO, USER_ID
from recsys.unfinished import num_in_use, scratch_beside
from recsys.user_shard import UserShard, every_shard

_ROWS_OF_A_FILE = 1_000_000


class LogCopy:
    """All events before a moment; its temporary files are gone when it is."""

    def __init__(self, log: EventLog, until_ms: int) -> None:
        """Read the log, or copy it.

        Args:
            log: The log.
            until_ms: End of the data, exclusive; milliseconds since the epoch.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        self.events: pl.LazyFrame
        """Everybody's, in the order of a log without shards; columns of ``EventLog.scan``."""
        self.shards: list[pl.LazyFrame] = []
        """The same, cut by user as ``recsys.user_shard`` does; a visitor's also come with the user's."""
        with shared(log.path / READERS_LOCK):
            self._copy(log, until_ms)

    def _copy(self, log: EventLog, until_ms: int) -> None:
        num_in_use(log.path / LOG_COPY)  # removes what a crash left
        scratch = ExitStack()
        directory = scratch.enter_context(scratch_beside(log.path / LOG_COPY))
        self._remove = weakref.finalize(self, scratch.close)
        num_shards = log.num_shards
        if num_shards == 1:
            self.events = log.scan(until_ms).collect().lazy()
            self.shards.append(self.events)
            return
        empty = log.scan(until_ms).head(0).collect()
        everybody = directory / "everybody"
        _write(log.days(until_ms), empty, everybody)
        self.events = _read(everybody)
        for shard in every_shard(num_shards):
            mine = (pl.scan_parquet(file).filter(_is_of(shard, empty)) for file in _files(everybody))
            target = directory / f"shard-{shard.number}"
            _write((part.collect() for part in mine), empty, target)
            self.shards.append(_read(target))


def _is_of(shard: UserShard, empty: pl.DataFrame) -> pl.Expr:
    mine = shard.has(pl.col(USER_ID))
    if MERGED_INTO not in empty.columns:
        return mine
    return mine | (pl.col(MERGED_INTO).is_not_null() & shard.has(pl.col(MERGED_INTO).fill_null("")))


def _write(frames: Iterator[pl.DataFrame], empty: pl.DataFrame, directory: Path) -> None:
    """Files of about as many rows each, at least one."""
    directory.mkdir()
    held: list[pl.DataFrame] = [empty]
    for frame in frames:
        held.append(frame)
        if sum(one.height for one in held) >= _ROWS_OF_A_FILE:
            _write_next(held, directory)
            held = [empty]
    if len(held) > 1 or not _files(directory):
        _write_next(held, directory)


def _write_next(frames: Sequence[pl.DataFrame], directory: Path) -> None:
    pl.concat(frames).write_parquet(directory / f"{len(_files(directory)):06}.parquet")


def _files(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def _read(directory: Path) -> pl.LazyFrame:
    return pl.scan_parquet(_files(directory))
