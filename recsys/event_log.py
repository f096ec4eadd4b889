"""The event log: everything that happened, in Parquet, and the truth that all else is derived from.

Layout: ``day=YYYY-MM-DD/NAME.parquet`` holds the events of one append that happened on that day (UTC), and
``_commits/NAME.json`` lists the files of that append. A file that no commit lists does not exist for a
reader, so an append becomes visible as a whole, when its commit is renamed into place. What a crash left
behind is removed by the next append. ``_merges/NAME.parquet`` holds the merges of an append. A commit knows
the digests of its files; a file that is no longer as it was written is set aside in ``_damaged``. Where
``_layout.json`` asks for several shards of users, a day has a file ``NAME~I-of-N.parquet`` for each that did
something; whoever reads can read logs of any number, and of several.

What an erased person did is never read, see ``recsys.tombstones``; ``forget_erased`` takes it off the disk.
"""

import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import reduce
from pathlib import Path

import polars as pl
from pydantic import BaseModel, Field, ValidationError

from recsys.errors import DataError
from recsys.fault_point import reach
from recsys.file_lock import exclusive
from recsys.log_commit import EFFECTIVE, Commit, digest, write_events, write_table
from recsys.schema import (
    EFFECTIVE_TIME,
    EVENT_ID,
    EVENT_SCHEMA,
    EVENT_TIME,
    MERGE_SCHEMA,
    MERGE_TIME,
    MERGED_INTO,
    TIMESTAMP,
    USER_ID,
    VISITOR,
)
from recsys.tombstones import Tombstones, living
from recsys.user_shard import ALL_USERS, UserShard, shard_number
from recsys.workspace import atomic_path, sync

MOST_SHARDS = 4096
READERS_LOCK = ".readers.lock"
"""Name of the file beside the log, where all machines see it, that whoever reads long holds shared meanwhile.

Who takes files away that readers may be about to read, holds it alone. Files that are rewritten without the
erased need none: their names stay, and readers have the old content or the new.
"""
LOG_COPY = "copy"
"""Beside it, in the log's directory, each training has a scratch directory as long as it holds events."""
_DAMAGED = "_damaged"
_LAYOUT = "_layout.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class _Layout(BaseModel):
    """How the next appends are cut."""

    num_shards: int = Field(default=1, ge=1, le=MOST_SHARDS)


class EventLog:
    """The log under one directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        """The directory."""
        self._commits = path / "_commits"
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
        files = [self.path / commit.merges for commit in self._read_commits() if commit.merges is not None]
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
        with exclusive(self.path / ".lock"):
            target = self._commits / f"{name}.json"
            if target.exists():
                return
            self._remove_uncommitted()
            num_erasures = len(self._tombstones)  # first: what is erased meanwhile is found again
            left = self._tombstones.living(events, USER_ID, EFFECTIVE)
            commit = write_events(self.path, left, name, self.num_shards)
            if merges is not None and not (merges := self._living_merges(merges)).is_empty():
                commit = self._write_merges(commit, merges, name)
            reach("log-written")
            commit.model_copy(update={"num_erasures": num_erasures}).save(target)
            reach("log-committed")

    def adopt(self, directory: Path, commit: Commit, name: str) -> None:
        """Add what ``write_events`` wrote elsewhere on the same file system, in one step, as ``append`` does.

        Args:
            directory: Where its files lie, with the paths that they are to have in the log; they are moved.
            commit: What they hold, all of it.
            name: Names this append, see ``append``; appended before, it adds nothing.

        Raises:
            ValueError: The name is not as described.
            DataError: A file is not there.
        """
        if name not in self.names():
            self.replace(directory, {name: commit})

    def replace(self, directory: Path, commits: Mapping[str, Commit]) -> None:
        """Let appends be what they are elsewhere, each in one step, whether or not they are in the log.

        Args:
            directory: Where files lie, as for ``adopt``; one that is not there is in the log already.
            commits: What the appends hold, by name.

        Raises:
            ValueError: A name is not as described.
            DataError: A commit is damaged, or a file is neither here nor there.
        """
        if wrong := [name for name in commits if not _NAME.fullmatch(name)]:
            raise ValueError(f"append name {wrong[0]!r} must be letters, digits, '.', '_' or '-'")
        with exclusive(self.path / ".lock"):
            self._remove_uncommitted()
            new = [
                file for name, commit in commits.items() for file in self._prepare(directory, commit, name)
            ]
            for file in new:  # directories once, not once a file
                (self.path / file).parent.mkdir(parents=True, exist_ok=True)
                (directory / file).replace(self.path / file)
                reach("log-moved")
            for parent in {(self.path / file).parent for file in new}:
                sync(parent)
            reach("log-written")
            for name, commit in commits.items():
                commit.save(self._commits / f"{name}.json")
                reach("log-committed")
            self._remove_uncommitted()

    def _prepare(self, directory: Path, commit: Commit, name: str) -> list[str]:
        """The files of an append that are to be moved; of those that they replace, no digest is known now."""
        new = [file for file in commit.files if (directory / file).is_file()]
        lacking = [file for file in commit.files if file not in new and not (self.path / file).is_file()]
        if lacking:
            raise DataError(f"the event log lacks {self.path / lacking[0]}, and it is not brought either")
        path = self._commits / f"{name}.json"
        if path.exists():  # a crash leaves a file without a digest, and none with a wrong one
            old = Commit.model_validate_json(path.read_bytes())
            known = reduce(lambda left, file: left.with_digest(file, None), new, old)
            if known != old:
                known.save(path)
        return new

    @property
    def num_shards(self) -> int:
        """How many shards of users the next append is cut into.

        Raises:
            DataError: The layout is damaged.
        """
        path = self.path / _LAYOUT
        try:
            return _Layout.model_validate_json(path.read_bytes()).num_shards
        except FileNotFoundError:
            return 1
        except ValidationError as error:
            raise DataError(f"{path} is damaged; run: recsys log reshard") from error

    def reshard(self, num_shards: int) -> int:
        """Cut the log into another number of shards of users; how many appends were cut anew.

        An append is the old one or the new one, and what was done is not done again after a crash: the log
        can be read in any shards meanwhile. A day of an append is in memory at a time.

        Args:
            num_shards: From 1, the layout without shards, to ``MOST_SHARDS``.

        Raises:
            DataError: A commit or a file is damaged, or a file is gone.
        """
        num_recut = 0
        with exclusive(self.path / ".lock"):
            self._remove_uncommitted()
            layout = _Layout(num_shards=num_shards)
            if num_shards != 1 or (self.path / _LAYOUT).exists():
                with atomic_path(self.path / _LAYOUT) as partial:
                    partial.write_text(layout.model_dump_json(), encoding="utf-8")
            for path, commit in self._named_commits():
                old = [file for file in commit.first_ms if UserShard.of_file(file).count != num_shards]
                if old:
                    self._recut(old, commit, path, num_shards)
                    num_recut += 1
            self._remove_uncommitted()
        return num_recut

    def _recut(self, old: Sequence[str], commit: Commit, path: Path, num_shards: int) -> None:
        for file in old:
            if not (self.path / file).is_file():
                raise DataError(f"the event log lacks {self.path / file}; restore it from a backup")
        for file in self._damaged(commit):
            raise DataError(f"{self.path / file} is not as it was written; restore it from a backup")
        days: dict[str, list[Path]] = {}
        for file in old:
            days.setdefault(file.partition("/")[0], []).append(self.path / file)
        after = reduce(Commit.without, old, commit)
        for files in days.values():
            events = pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)
            new = write_events(self.path, events, path.stem, num_shards)
            after = after.model_copy(
                update={"first_ms": after.first_ms | new.first_ms, "digests": after.digests | new.digests}
            )
            reach("shard-written")
        after.save(path)
        reach("shard-committed")

    def forget_erased(self, leaving: Callable[[list[str]], object] = len) -> list[str]:
        """Rewrite the files that hold something of erased people; each is the old one or the new one.

        May be repeated after a crash: what was done is not done again.

        Args:
            leaving: Called with the ids of events before they go, since a crash would make nobody know them.

        Returns:
            Ids of the events that went.

        Raises:
            DataError: A commit is damaged, one of its files is gone, or what was set aside cannot be removed.
        """
        gone: list[str] = []
        with exclusive(self.path / ".lock"):
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
                    merges = pl.read_parquet(self.path / commit.merges)
                    cleaned = self._rewrite(commit.merges, merges, self._living_merges(merges), cleaned, path)
                cleaned.model_copy(update={"num_erasures": num_erasures}).save(path)
            _remove(self.path / _DAMAGED)  # what cannot be read cannot be searched
        return gone

    def prune(self, before_ms: int) -> int:
        """Remove the events and merges that happened before a time; how many events went.

        Whole days are removed: a day stays until its end lies before the time. So do damaged files; merges
        among them, which nobody can read, go when all that was appended with them lies before the time.

        Raises:
            DataError: A commit is damaged, or what was set aside cannot be removed.
        """
        last = datetime.fromtimestamp(before_ms / 1000, UTC).date()
        num_events = 0
        with exclusive(self.path / ".lock"):
            self._remove_uncommitted()
            for path, commit in self._named_commits():
                old = [file for file in commit.first_ms if _lies_before(file, last)]
                aside = [file for file in commit.aside if not _lies_before(file, last)]
                if not old and commit.merges is None and aside == commit.aside:
                    continue
                num_events += sum(
                    pl.scan_parquet(self.path / f).select(pl.len()).collect().item() for f in old
                )
                for file in old:
                    commit = commit.without(file)  # noqa: PLW2901
                commit = commit.model_copy(update={"aside": aside})  # noqa: PLW2901
                commit.save(path)
                if commit.merges is not None:
                    self._prune_merges(commit.merges, commit, path, before_ms)
            self._remove_uncommitted()
            for day in (self.path / _DAMAGED).glob("day=*"):
                if date.fromisoformat(day.name[4:]) < last:
                    _remove(day)
            ends = {path.stem: commit.end_ms for path, commit in self._named_commits()}
            for merges in (self.path / _DAMAGED / "_merges").glob("*"):
                if (ends.get(merges.stem) or 0) < before_ms:
                    _remove(merges)
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
        with exclusive(self.path / ".lock"):
            for path, commit in self._named_commits():
                damaged = self._damaged(commit)
                for file in damaged:
                    kept = self.path / _DAMAGED / file
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self.path / file, kept)
                    commit = commit.setting_aside(file)  # noqa: PLW2901
                    commit.save(path)
                    (self.path / file).unlink()
                aside += damaged
        return aside

    def _damaged(self, commit: Commit) -> list[str]:
        there = (file for file in commit.digests if (self.path / file).is_file())
        return [file for file in there if digest(self.path / file) != commit.digests[file]]

    def end_ms(self) -> int | None:
        """Greatest time of an event or merge, milliseconds since the epoch; ``None`` for an empty log."""
        return max(
            (commit.end_ms for commit in self._read_commits() if commit.end_ms is not None), default=None
        )

    def is_behind(self, num_erasures: int) -> bool:
        """Whether an append heeds fewer tombstones than there are, and may hold something of the erased."""
        return any(commit.num_erasures < num_erasures for commit in self._read_commits())

    def names(self) -> list[str]:
        """What was appended, by name; also what holds nothing any more."""
        return [path.stem for path in self._commits.glob("*.json")]

    def event_ids(self) -> pl.Series:
        """Ids of all events, in no particular order."""
        return self.scan().select(EVENT_ID).collect()[EVENT_ID]

    def event_ids_of(self, names: Collection[str]) -> pl.Series:
        """Ids of the events of appends, in no particular order, the erased people's among them.

        Raises:
            DataError: A commit is damaged.
        """
        files = [
            self.path / f
            for path, commit in self._named_commits()
            if path.stem in names
            for f in commit.first_ms
        ]
        ids = [pl.read_parquet(file, columns=[EVENT_ID])[EVENT_ID] for file in files]
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
        clean: list[Path] = []
        behind: list[Path] = []
        num_erasures = len(self._tombstones)
        for commit in self._read_commits():
            files = clean if commit.num_erasures >= num_erasures else behind
            files += [
                self.path / file
                for file, first_ms in commit.first_ms.items()
                if (until_ms is None or first_ms < until_ms) and may_hold(file, shard, visitors)
            ]
        missing = next((file for file in (*clean, *behind) if not file.is_file()), None)
        if missing is not None:
            raise DataError(f"the event log lacks {missing}; restore it, or ingest the events anew")
        return clean, behind

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
        events = _with_merges(events, merges)
        if until_ms is None:
            return events
        return events.filter(pl.col(EFFECTIVE_TIME) < pl.lit(until_ms).cast(TIMESTAMP))

    def _day(
        self, clean: list[Path], behind: list[Path], until_ms: int | None, merges: pl.DataFrame
    ) -> pl.DataFrame:
        events = self._read((clean, behind), until_ms, merges, ALL_USERS, []).collect()
        return events.sort(EVENT_TIME, EVENT_ID) if len(clean) + len(behind) > 1 else events

    def _living_merges(self, merges: pl.DataFrame) -> pl.DataFrame:
        at = pl.col(MERGE_TIME)
        return self._tombstones.living(self._tombstones.living(merges, VISITOR, at), USER_ID, at)

    def _clean(
        self, file: str, commit: Commit, path: Path, leaving: Callable[[list[str]], object]
    ) -> tuple[Commit, list[str]]:
        """Take the erased people's events out of a file; its commit, and the ids of what went."""
        users = pl.read_parquet(self.path / file, columns=[USER_ID])[USER_ID]
        if self._tombstones.of(users).is_empty():
            return commit, []
        events = pl.read_parquet(self.path / file, hive_partitioning=False)
        kept = self._tombstones.living(events, USER_ID, EFFECTIVE)
        gone = events.join(kept, on=EVENT_ID, how="anti")[EVENT_ID].to_list()
        leaving(gone)
        return self._rewrite(file, events, kept, commit, path), gone

    def _prune_merges(self, file: str, commit: Commit, path: Path, before_ms: int) -> None:
        merges = pl.read_parquet(self.path / file)
        kept = merges.filter(pl.col(MERGE_TIME) >= pl.lit(before_ms).cast(TIMESTAMP))
        self._rewrite(file, merges, kept, commit, path).save(path)

    def _rewrite(
        self, file: str, rows: pl.DataFrame, kept: pl.DataFrame, commit: Commit, path: Path
    ) -> Commit:
        """Replace a file by those of its rows that are kept; its commit, which is to be saved."""
        if kept.height == rows.height:
            return commit
        commit = commit.with_digest(file, None)
        commit.save(path)  # first: a crash leaves a file without a digest, and none with a wrong one
        return commit.with_digest(file, write_table(kept, self.path / file))

    def _write_merges(self, commit: Commit, merges: pl.DataFrame, name: str) -> Commit:
        file = f"_merges/{name}.parquet"
        written = write_table(merges, self.path / file)
        [end_ms] = merges.select(pl.col(MERGE_TIME).max().dt.epoch("ms")).row(0)
        return commit.with_digest(file, written).model_copy(
            update={"merges": file, "end_ms": max(end_ms, commit.end_ms or 0)}
        )

    def _read_commits(self) -> Iterator[Commit]:
        return (commit for _, commit in self._named_commits())

    def _named_commits(self) -> Iterator[tuple[Path, Commit]]:
        for path in sorted(self._commits.glob("*.json")):
            try:
                yield path, Commit.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise DataError(
                    f"the event log's commit {path} is damaged; restore it from a backup"
                ) from error

    def _remove_uncommitted(self) -> None:
        committed = {file for commit in self._read_commits() for file in commit.files}
        for path in [*self.path.glob("day=*/*"), *self.path.glob("_merges/*")]:
            if path.relative_to(self.path).as_posix() in committed:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


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


def _lies_before(file: str, day: date) -> bool:
    """Whether a file holds the events of an earlier day."""
    return file.startswith("day=") and date.fromisoformat(file[4:14]) < day


def _by_day(files: list[Path]) -> Iterator[list[Path]]:
    """Files in groups of an append's day, by append and then by day."""
    appends: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        name = file.name.removesuffix(".parquet").partition("~")[0]
        appends.setdefault(name, {}).setdefault(file.parent.name, []).append(file)
    for days in appends.values():
        yield from (days[day] for day in sorted(days))


def visitors_of(shard: UserShard, merges: pl.DataFrame) -> list[str]:
    """The visitors who turned out to be a user of the shard; of all users, nobody needs to ask."""
    if shard == ALL_USERS or merges.is_empty():
        return []
    return merges.filter(shard.has(pl.col(USER_ID)))[VISITOR].unique().to_list()


def may_hold(file: str, shard: UserShard, visitors: list[str]) -> bool:
    """Whether a file may hold events of the shard's users, or of those visitors."""
    found = UserShard.of_file(file)
    return found.shares_users_with(shard) or any(
        shard_number(visitor, found.count) == found.number for visitor in visitors
    )


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
    met = events.join(
        spans.lazy(), on=USER_ID, how="left", maintain_order="left"
    )  # as sums of floats need it
    return met.filter(inside).drop("after")
