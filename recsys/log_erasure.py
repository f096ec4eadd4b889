"""Takes what erased people did off the event log's disk; to whoever reads the log it is gone before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recsys.damaged_files import DamagedFiles
from recsys.log_commit import EFFECTIVE, Commit
from recsys.log_commits import Commits
from recsys.schema import EVENT_ID, USER_ID
from recsys.tombstones import Tombstones
from recsys.visitor_merges import living_merges


def forget_erased(log: Path, leaving: Callable[[list[str]], object] = len) -> list[str]:
    """Rewrite the files that hold something of erased people; each is the old one or the new one.

    May be repeated after a crash: what was done is not done again.

    Args:
        log: Directory of the log.
        leaving: Called with the ids of events before they go, since a crash would make nobody know them.

    Returns:
        Ids of the events that went.

    Raises:
        DataError: A commit is damaged, one of its files is gone, or what was set aside cannot be removed.
    """
    commits = Commits(log)
    cleaning = _Cleaning(commits, Tombstones(log.parent), leaving)
    with commits.lock():
        commits.remove_uncommitted()
        num_erasures = len(cleaning.tombstones)
        for name, commit in commits:
            if commit.num_erasures < num_erasures:
                cleaned = cleaning.append(name, commit)
                commits.save(name, cleaned.model_copy(update={"num_erasures": num_erasures}))
        DamagedFiles(log).remove()  # what cannot be read cannot be searched
    return cleaning.gone


@dataclass
class _Cleaning:
    """Goes through the appends; for whoever holds the log's lock."""

    commits: Commits
    tombstones: Tombstones
    leaving: Callable[[list[str]], object]
    gone: list[str] = field(default_factory=list)

    def append(self, name: str, commit: Commit) -> Commit:
        """Clean one; its commit, which is to be saved."""
        self.commits.require(commit.files)
        cleaned = commit
        for file in commit.first_ms:
            cleaned = self._events(name, cleaned, file)
        if commit.merges is None:
            return cleaned
        merges = pl.read_parquet(self.commits.log / commit.merges)
        kept = living_merges(merges, self.tombstones)
        return self.commits.rewrite(name, cleaned, commit.merges, merges, kept)

    def _events(self, name: str, commit: Commit, file: str) -> Commit:
        users = pl.read_parquet(self.commits.log / file, columns=[USER_ID])[USER_ID]
        if self.tombstones.of(users).is_empty():
            return commit
        events = pl.read_parquet(self.commits.log / file, hive_partitioning=False)
        kept = self.tombstones.living(events, USER_ID, EFFECTIVE)
        ids = events.join(kept, on=EVENT_ID, how="anti")[EVENT_ID].to_list()
        self.leaving(ids)
        self.gone += ids
        return self.commits.rewrite(name, commit, file, events, kept)
