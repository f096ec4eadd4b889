"""Events of many files, checked and told apart in parts, and written for the log aside of it.

Three steps, each a task for every part that may be run again: rows are checked, and those taken are ordered
by a hash of their event id; of each share of the ids, the first event stays, unless the log has it, and those
that stay are ordered by shard of users; each shard of users becomes the files that the log is to have. What
a step leaves for the next is one file a task, in which the next skips what it does not want.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.log_commit import EFFECTIVE, Commit, write_events
from recsys.pseudonyms import Pseudonyms
from recsys.readers import REJECT_SCHEMA, Source
from recsys.row_spans import Cut, Span
from recsys.schema import EVENT_ID, EVENT_SCHEMA, EVENT_TIME, USER_ID
from recsys.tombstones import Tombstones
from recsys.user_shard import shard_numbers
from recsys.validation import check_events
from recsys.workspace import Workspace, atomic_path

_TARGET = "target"
_GROUP_ROWS = 50_000
_NO_LINES = pl.DataFrame(schema=REJECT_SCHEMA)


@dataclass(frozen=True)
class PartCheck:
    """What became of the rows of a part; of those that were taken, the file is written."""

    num_accepted: int
    """Without duplicates within the part."""
    num_duplicates: int
    rejects: pl.DataFrame
    """See ``recsys.validation.Checked``."""
    ignored_columns: tuple[str, ...]
    last_year: int | None
    """Of the latest event."""


@dataclass(frozen=True)
class ShareCheck:
    """What became of the events of a share of the ids."""

    num_new: int
    """Neither in the log nor in the files before."""
    digest: str
    """Of the ids of those, in order."""


@dataclass(frozen=True)
class Shuffle:
    """What every task is told."""

    workspace: Workspace
    scratch: Path
    """Directory for the files, on the file system of the log."""
    item_ids: pl.Series
    """Ids that an event may name."""
    now_ms: int
    num_parts: int
    """As many shares of ids as parts of the input."""
    num_shards: int
    """Shards of users."""

    @property
    def log(self) -> Path:
        """Where the files lie that the log is to have, with the paths that they are to have there."""
        return self.scratch / "log"

    def files(self, step: str) -> list[Path]:
        """What the tasks of a step leave, by number."""
        return [self.scratch / step / f"{number}.parquet" for number in range(self.num_parts)]

    def num_of(self, event_ids: pl.Series) -> int:
        """How many of some ids are among the distinct events."""
        if event_ids.is_empty():
            return 0
        left = pl.scan_parquet(self.files(DISTINCT), hive_partitioning=False, glob=False)
        known = pl.col(EVENT_ID).is_in(event_ids.implode())
        return int(left.filter(known).select(pl.len()).collect().item())


CHECKED, DISTINCT = "checked", "distinct"
"""Steps whose tasks leave a file each."""


def check_part(shuffle: Shuffle, cut: Cut, numbered: tuple[int, Sequence[Span]]) -> PartCheck:
    """The first step, for a part of the rows.

    Raises:
        DataError: A column is missing or has an unreadable type, or a file is damaged.
    """
    number, part = numbered
    source = Source(cut.read(part), _NO_LINES)
    pseudonyms = Pseudonyms.configured(shuffle.workspace)
    if pseudonyms is not None:
        source = pseudonyms.source(source)
    try:
        checked = check_events(source, shuffle.item_ids, shuffle.now_ms)
    except DataError as error:
        raise DataError(f"{cut.path}: {error}") from error
    events = checked.accepted
    _leave(events, events[EVENT_ID], shuffle.num_parts, shuffle.files(CHECKED)[number])
    return PartCheck(
        events.height,
        checked.num_duplicates,
        checked.rejects,
        checked.ignored_columns,
        events.select(pl.col(EVENT_TIME).dt.year().max()).item(),
    )


def keep_distinct(shuffle: Shuffle, number: int) -> ShareCheck:
    """The second step, for a share of the ids.

    Raises:
        DataError: The log is damaged.
    """
    events = _taken(shuffle.files(CHECKED), number).unique(EVENT_ID, keep="first", maintain_order=True)
    known = pl.col(EVENT_ID).is_in(events[EVENT_ID].implode())
    logged = EventLog(shuffle.workspace.events).scan().filter(known).select(EVENT_ID).collect()
    new = events.join(logged, on=EVENT_ID, how="anti", maintain_order="left")
    _leave(new, new[USER_ID], shuffle.num_shards, shuffle.files(DISTINCT)[number])
    return ShareCheck(new.height, hashlib.sha256("\n".join(new[EVENT_ID]).encode()).hexdigest())


def write_shard(shuffle: Shuffle, name: str, number: int) -> Commit:
    """The third step, for a shard of users: the events of nobody who was erased, as files of the log.

    Args:
        shuffle: What every task is told.
        name: The append's.
        number: The shard's.
    """
    tombstones = Tombstones(shuffle.workspace.root)
    num_erasures = len(tombstones)  # first: what is erased meanwhile is found again
    events = tombstones.living(_taken(shuffle.files(DISTINCT), number), USER_ID, EFFECTIVE)
    commit = write_events(shuffle.log, events, name, shuffle.num_shards)
    return commit.model_copy(update={"num_erasures": num_erasures})


def _leave(events: pl.DataFrame, ids: pl.Series, num_targets: int, path: Path) -> None:
    """Write events for the tasks of the next step, otherwise in the order that they have."""
    aimed = events.with_columns(shard_numbers(ids, num_targets).alias(_TARGET))
    with atomic_path(path) as unfinished:
        aimed.sort(_TARGET, maintain_order=True).write_parquet(unfinished, row_group_size=_GROUP_ROWS)


def _taken(files: Sequence[Path], number: int) -> pl.DataFrame:
    """What the tasks before left for one of this step, in their order."""
    left = [pl.scan_parquet(file, hive_partitioning=False, glob=False) for file in files]
    return pl.concat(left).filter(pl.col(_TARGET) == number).select(EVENT_SCHEMA.names()).collect()
