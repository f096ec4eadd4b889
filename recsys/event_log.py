"""The event log: everything that happened, in Parquet, and the truth that all else is derived from.

Layout: ``day=YYYY-MM-DD/NAME.parquet`` holds the events of one append that happened on that day (UTC), and
``_commits/NAME.json`` lists the files of that append. A file that no commit lists does not exist for a
reader, so an append becomes visible as a whole, when its commit is renamed into place. What a crash left
behind is removed by the next append. ``_merges/NAME.parquet`` holds the merges of an append. A commit knows
the digests of its files; a file that is no longer as it was written is set aside in ``_damaged``. Where
``_layout.json`` asks for several shards of users, a day has a file ``NAME~I-of-N.parquet`` for each that did
something; whoever reads can read logs of any number, and of several.

Here the log is read and added to; ``log_commits`` is what it consists of. Its upkeep: ``log_shards`` cuts it
anew, ``log_pruning`` and ``log_erasure`` take events away, ``damaged_files`` sets aside, and ``log_adoption``
brings in what was written elsewhere. What an erased person did is never read, see ``recsys.tombstones``.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from recsys.fault_point import reach
from recsys.log_commit import EFFECTIVE, write_events, write_merges
from recsys.log_commits import Commits, check_name
from recsys.log_shards import shards_of
from recsys.schema import (
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    MERGE_SCHEMA,
    MERGE_TIME,
    TIMESTAMP,
    USER_ID,
    VISITOR,
)
from recsys.tombstones import Tombstones, living
from recsys.user_shard import ALL_USERS, UserShard
from recsys.visitor_merges import living_merges, may_hold, visitors_of, with_merges

READERS_LOCK = ".readers.lock"
"""Name of the file beside the log, where all machines see it, that whoever reads long holds shared meanwhile.

Who takes files away that readers may be about to read, holds it alone. Files that are rewritten without the
erased need none: their names stay, and readers have the old content or the new.
"""
LOG_COPY = "copy"
"""Beside it, in the log's directory, each training has a scratch directory as long as it holds events."""


class EventLog:
    """The log under one directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The directory."""
        self._commits = Commits(path)
        self._tombstones = Tombstones(path.parent)

    def scan(self, until_ms: int | None = None, shard: UserShard = ALL_USERS) -> pl.LazyFrame:
        """Read the events visible at a time, in no particular order.

        Args:
            until_ms: Only events whose effective time is strictly before this, in milliseconds since the
                epoch; ``None`` for all of them.
            shard: Only events of these users, and of the visitors who turned out to be one of them: those
                come in the visitor's own shard too.

        Returns:
            Columns of ``EVENT_SCHEMA`` and ``effective_time``, the earlier of ``event_time`` and
            ``received_time``. A log with merges that are visible also has ``merged_into`` and
            ``merge_time``: to whom a visitor's event counts later, and from when on.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        merges = self.merges(until_ms)
        visitors = visitors_of(shard, merges)
        clean, behind = self._files_of(until_ms, shard, visitors)
        return self._read((clean, behind), until_ms, merges, shard, visitors)

    def days(self, until_ms: int | None = None) -> Iterator[pl.DataFrame]:
        """The events of ``scan``, a day of an append after the other, each in memory when it comes.

        One after the other they have the order in which ``scan`` reads a log without shards, however many
        this one has: sums of floats depend on it.

        Args:
            until_ms: See ``scan``.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        merges = self.merges(until_ms)
        clean, behind = self._files_of(until_ms, ALL_USERS, [])
        for files in _by_day(clean):
            yield self._day(files, [], until_ms, merges)
        for files in _by_day(behind):
            yield self._day([], files, until_ms, merges)

    def merges(self, until_ms: int | None = None) -> pl.DataFrame:
        """Which visitor was which user from when on: ``MERGE_SCHEMA``, in order of time.

        Args:
            until_ms: Only merges strictly before this, in milliseconds since the epoch; ``None`` for all.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        files = [commit.merges for _, commit in self._commits if commit.merges is not None]
        self._commits.require(files)
        tables = [pl.read_parquet(self.path / file) for file in files]
        merges = pl.concat([pl.DataFrame(schema=MERGE_SCHEMA), *tables])
        if until_ms is not None:
            merges = merges.filter(pl.col(MERGE_TIME) < pl.lit(until_ms).cast(TIMESTAMP))
        return living_merges(merges, self._tombstones).sort(MERGE_TIME, VISITOR)

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
        check_name(name)
        if events.schema != EVENT_SCHEMA:
            raise ValueError(f"expected the columns of EVENT_SCHEMA, got {events.schema}")
        with self._commits.lock():
            if name in self._commits:
                return
            self._commits.remove_uncommitted()
            num_erasures = len(self._tombstones)  # first: what is erased meanwhile is found again
            left = self._tombstones.living(events, USER_ID, EFFECTIVE)
            commit = write_events(self.path, left, name, self.num_shards)
            if merges is not None and not (merges := living_merges(merges, self._tombstones)).is_empty():
                commit = write_merges(self.path, commit, merges, name)
            reach("log-written")
            self._commits.save(name, commit.model_copy(update={"num_erasures": num_erasures}))
            reach("log-committed")

    @property
    def num_shards(self) -> int:
        """How many shards of users the next append is cut into.

        Raises:
            DataError: The layout is damaged.
        """
        return shards_of(self.path)

    def end_ms(self) -> int | None:
        """Greatest time of an event or merge, milliseconds since the epoch; ``None`` for an empty log."""
        return max((commit.end_ms for _, commit in self._commits if commit.end_ms is not None), default=None)

    def is_behind(self, num_erasures: int) -> bool:
        """Whether an append heeds fewer tombstones than there are, and may hold something of the erased."""
        return any(commit.num_erasures < num_erasures for _, commit in self._commits)

    def names(self) -> list[str]:
        """What was appended, by name; also what holds nothing any more."""
        return self._commits.names()

    def event_ids(self) -> pl.Series:
        """Ids of all events, in no particular order."""
        return self.scan().select(EVENT_ID).collect()[EVENT_ID]

    def event_ids_of(self, names: Collection[str]) -> pl.Series:
        """Ids of the events of appends, in no particular order, the erased people's among them.

        Raises:
            DataError: A commit is damaged or one of its files is gone.
        """
        files = [file for name, commit in self._commits if name in names for file in commit.first_ms]
        self._commits.require(files)
        ids = [pl.read_parquet(self.path / file, columns=[EVENT_ID])[EVENT_ID] for file in files]
        return pl.concat(ids) if ids else pl.Series(EVENT_ID, dtype=pl.String)

    def _living(self, behind: list[Path], clean: list[Path]) -> pl.LazyFrame:
        """Events of files that were written before the last erasures, and of others, without the erased."""
        events = pl.scan_parquet(clean, hive_partitioning=False) if clean else None
        if behind:
            older = pl.scan_parquet(behind, hive_partitioning=False)
            erased = self._tombstones.of(older.select(pl.col(USER_ID).unique()).collect()[USER_ID])
            older = living(older, USER_ID, EFFECTIVE, erased)
            events = older if events is None else pl.concat([events, older])
        return pl.LazyFrame(schema=EVENT_SCHEMA) if events is None else events

    def _files_of(
        self, until_ms: int | None, shard: UserShard, visitors: list[str]
    ) -> tuple[list[Path], list[Path]]:
        """Files that hold nothing of erased people, and those that may."""
        clean: list[str] = []
        behind: list[str] = []
        num_erasures = len(self._tombstones)
        for _, commit in self._commits:
            files = clean if commit.num_erasures >= num_erasures else behind
            files += [
                file
                for file, first_ms in commit.first_ms.items()
                if (until_ms is None or first_ms < until_ms) and may_hold(file, shard, visitors)
            ]
        self._commits.require([*clean, *behind])
        return [self.path / file for file in clean], [self.path / file for file in behind]

    def _read(
        self,
        files: tuple[list[Path], list[Path]],
        until_ms: int | None,
        merges: pl.DataFrame,
        shard: UserShard,
        visitors: list[str],
    ) -> pl.LazyFrame:
        """What ``scan`` returns, of some files of ``_files_of``."""
        clean, behind = files
        events = self._living(behind, clean).with_columns(EFFECTIVE)
        if shard != ALL_USERS:
            user = pl.col(USER_ID)
            events = events.filter(
                shard.has(user) | user.is_in(pl.Series(visitors, dtype=pl.String).implode())
            )
        events = with_merges(events, merges)
        if until_ms is None:
            return events
        return events.filter(pl.col(EFFECTIVE_TIME) < pl.lit(until_ms).cast(TIMESTAMP))

    def _day(
        self, clean: list[Path], behind: list[Path], until_ms: int | None, merges: pl.DataFrame
    ) -> pl.DataFrame:
        events = self._read((clean, behind), until_ms, merges, ALL_USERS, []).collect()
        return events.sort(EVENT_TIME, EVENT_ID) if len(clean) + len(behind) > 1 else events


def _by_day(files: list[Path]) -> Iterator[list[Path]]:
    """Files in groups of an append's day, by append and then by day."""
    appends: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        name = file.name.removesuffix(".parquet").partition("~")[0]
        appends.setdefault(name, {}).setdefault(file.parent.name, []).append(file)
    for days in appends.values():
        yield from (days[day] for day in sorted(days))
