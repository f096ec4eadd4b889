"""Events taken in by any runner: the counts, the refusals and the log that one process makes."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.event_shuffle import PartCheck, ShareCheck, Shuffle, check_part, keep_distinct, write_shard
from recsys.log_adoption import adopt
from recsys.log_commit import joined
from recsys.log_erasure import forget_erased
from recsys.log_layout import log_for_appends, num_user_shards
from recsys.pseudonyms import Pseudonyms
from recsys.row_spans import Cut, cut_rows
from recsys.runner import Runner
from recsys.tombstones import Tombstones
from recsys.unfinished import remove_unfinished, scratch_beside
from recsys.workspace import Workspace


@dataclass(frozen=True)
class ShardedEvents:
    """Events that were checked in parts; the like of ``recsys.validation.Checked``."""

    num_accepted: int
    rejects: pl.DataFrame
    num_duplicates: int
    ignored_columns: tuple[str, ...]
    last_year: int | None
    """Of the latest that was accepted before the log was asked."""
    runner: Runner
    shuffle: Shuffle
    name: str
    """What the log is to call them."""
    known_names: frozenset[str]
    """Appends that the log had before its ids were asked for."""

    def publish(self) -> None:
        """Add them to the log in one step; killed before its end, nothing was added.

        Raises:
            DataError: The log is damaged, or some of the events have come to it by another way meanwhile.
        """
        if not self.num_accepted:
            return
        write = partial(write_shard, self.shuffle, self.name)
        commits = self.runner.run(write, range(self.shuffle.num_shards), "writing the log")
        log = log_for_appends(self.shuffle.workspace)
        ids = log.event_ids_of(set(log.names()) - self.known_names - {self.name})
        if num_twice := self.shuffle.num_of(ids):
            raise DataError(
                f"{num_twice:,} of the events came to the log by another way while they were checked; "
                "nothing was added: run the command again"
            )
        adopt(log.path, self.shuffle.log, joined(commits), self.name)
        if log.is_behind(len(Tombstones(self.shuffle.workspace.root))):
            forget_erased(log.path)  # somebody was erased after the files were written


@contextmanager
def checked_in_shards(
    runner: Runner, workspace: Workspace, path: Path, item_ids: pl.Series, now_ms: int
) -> Iterator[ShardedEvents]:
    """Check the events of files, and compare their ids with each other's and the log's.

    What is written meanwhile lies in a directory in that of the log, and is gone at the end of the context.
    What a crash leaves there is removed by ``recsys.unfinished.remove_unfinished``.

    Args:
        runner: Where the parts go.
        workspace: Whose they are to be; like ``path``, it lies under the same path for whoever works on them.
        path: A file or a directory, as for ``recsys.readers.read_source``.
        item_ids: Ids that an event may name.
        now_ms: See ``recsys.validation.check_events``.

    Raises:
        DataError: A file or a column cannot be read, or the log is damaged.
    """
    workspace, path = Workspace(workspace.root.absolute()), path.absolute()  # others run elsewhere
    workspace.events.mkdir(parents=True, exist_ok=True)
    remove_unfinished(workspace.events)
    with scratch_beside(workspace.events / "ingest") as scratch:
        known_names = frozenset(EventLog(workspace.events).names())
        cut = cut_rows(runner, path, scratch)
        shuffle = Shuffle(workspace, scratch, item_ids, now_ms, len(cut.parts), num_user_shards(workspace))
        parts = runner.run(partial(check_part, shuffle, cut), list(enumerate(cut.parts)), "checking events")
        shares = runner.run(partial(keep_distinct, shuffle), range(len(parts)), "comparing event ids")
        yield _summed(parts, shares, _unreadable(workspace, cut), runner, shuffle, known_names=known_names)


def _unreadable(workspace: Workspace, cut: Cut) -> pl.DataFrame:
    pseudonyms = Pseudonyms.configured(workspace)
    return cut.unreadable if pseudonyms is None else pseudonyms.unreadable(cut.empty, cut.unreadable)


def _summed(
    parts: Sequence[PartCheck],
    shares: Sequence[ShareCheck],
    unreadable: pl.DataFrame,
    runner: Runner,
    shuffle: Shuffle,
    *,
    known_names: frozenset[str],
) -> ShardedEvents:
    num_new, num_taken = sum(share.num_new for share in shares), sum(part.num_accepted for part in parts)
    digest = hashlib.sha256("\n".join(share.digest for share in shares).encode()).hexdigest()
    years = [part.last_year for part in parts if part.last_year is not None]
    return ShardedEvents(
        num_new,
        pl.concat([unreadable, *(part.rejects for part in parts)]),
        sum(part.num_duplicates for part in parts) + num_taken - num_new,
        parts[0].ignored_columns,
        max(years, default=None),
        runner,
        shuffle,
        f"ingest-{digest[:32]}",
        known_names,
    )
