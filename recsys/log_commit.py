"""What one append to the event log wrote: its files by day and shard of users, and what they hold."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ValidationError

from recsys.errors import DataError
from recsys.schema import EFFECTIVE_TIME, EVENT_ID, EVENT_TIME, MERGE_TIME, RECEIVED_TIME, USER_ID
from recsys.user_shard import UserShard, shard_numbers
from recsys.workspace import atomic_path

EFFECTIVE = pl.min_horizontal(EVENT_TIME, RECEIVED_TIME).alias(EFFECTIVE_TIME)
_DAY, _SHARD = "day", "shard"


class Commit(BaseModel):
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
    aside: list[str] = []
    """Files that it had too, and which were damaged and set aside: who has them may bring them."""

    @property
    def files(self) -> list[str]:
        """All of them, relative to the log."""
        return [*self.first_ms, *([] if self.merges is None else [self.merges])]

    def without(self, file: str) -> "Commit":
        """The commit of the other files."""
        first_ms = {one: first for one, first in self.first_ms.items() if one != file}
        merges = None if self.merges == file else self.merges
        return self.with_digest(file, None).model_copy(update={"first_ms": first_ms, "merges": merges})

    def setting_aside(self, file: str) -> "Commit":
        """The commit of the other files, which knows that there was this one."""
        return self.without(file).model_copy(update={"aside": [*self.aside, file]})

    def with_digest(self, file: str, digest: str | None) -> "Commit":
        """The commit with another digest of a file, or with none."""
        others = {one: of for one, of in self.digests.items() if one != file}
        return self.model_copy(update={"digests": others if digest is None else others | {file: digest}})

    def to_json(self) -> str:
        """What is written: the same for the same commit, whatever it need not say."""
        return self.model_dump_json(exclude=None if self.aside else {"aside"})

    @classmethod
    def load(cls, path: Path) -> "Commit":
        """Read one that was saved.

        Raises:
            DataError: It is damaged.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataError(f"the event log's commit {path} is damaged; restore it from a backup") from error

    def save(self, path: Path) -> None:
        """Write it, or replace the one that is there."""
        with atomic_path(path) as partial:
            partial.write_text(self.to_json(), encoding="utf-8")


def write_events(log: Path, events: pl.DataFrame, name: str, num_shards: int) -> Commit:
    """Write events as files of a log, one for each day and shard of users; nobody reads them yet.

    Args:
        log: Directory of the log.
        events: Frame with the columns of ``EVENT_SCHEMA``.
        name: The append's.
        num_shards: How many shards of users there are.
    """
    times = EFFECTIVE.dt.timestamp("ms")
    first_ms: dict[str, int] = {}
    digests: dict[str, str] = {}
    ends: list[int] = []
    ordered = events.sort(EVENT_TIME, EVENT_ID)
    cut = ordered.with_columns(
        pl.col(EVENT_TIME).dt.date().alias(_DAY), shard_numbers(ordered[USER_ID], num_shards).alias(_SHARD)
    )
    for (day, shard), part in cut.partition_by(_DAY, _SHARD, as_dict=True, include_key=False).items():
        file = f"day={day}/{name}{UserShard(int(shard), num_shards).suffix}"
        digests[file] = write_table(part, log / file)
        first_ms[file], end_ms = part.select(first=times.min(), last=times.max()).row(0)
        ends.append(end_ms)
    return Commit(first_ms=first_ms, end_ms=max(ends, default=None), digests=digests)


def write_merges(log: Path, commit: Commit, merges: pl.DataFrame, name: str) -> Commit:
    """Write merges beside the events of an append; nobody reads them yet.

    Args:
        log: Directory of the log.
        commit: Of the events.
        merges: At least one, of ``MERGE_SCHEMA``.
        name: The append's.

    Returns:
        The commit of both.
    """
    file = f"_merges/{name}.parquet"
    written = write_table(merges, log / file)
    [end_ms] = merges.select(pl.col(MERGE_TIME).max().dt.epoch("ms")).row(0)
    return commit.with_digest(file, written).model_copy(
        update={"merges": file, "end_ms": max(end_ms, commit.end_ms or 0)}
    )


def joined(commits: Sequence[Commit]) -> Commit:
    """One commit of the events of several; of the tombstones, all of them heed as many as each does."""
    return Commit(
        first_ms={file: first for commit in commits for file, first in commit.first_ms.items()},
        end_ms=max((commit.end_ms for commit in commits if commit.end_ms is not None), default=None),
        num_erasures=min((commit.num_erasures for commit in commits), default=0),
        digests={file: digest for commit in commits for file, digest in commit.digests.items()},
    )


def write_table(table: pl.DataFrame, path: Path) -> str:
    """Write a file, or replace it; its digest."""
    with atomic_path(path) as partial:
        table.write_parquet(partial)
        return digest(partial)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
