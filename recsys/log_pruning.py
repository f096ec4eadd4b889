"""Removes from the event log the days that lie long ago."""

from datetime import UTC, date, datetime
from functools import reduce
from pathlib import Path

import polars as pl

from recsys.damaged_files import DamagedFiles
from recsys.log_commit import Commit
from recsys.log_commits import Commits
from recsys.schema import MERGE_TIME, TIMESTAMP


def prune_log(log: Path, before_ms: int) -> int:
    """Remove the events and merges that happened before a time; how many events went.

    Whole days are removed: a day stays until its end lies before the time. So do damaged files; merges
    among them, which nobody can read, go when all that was appended with them lies before the time.

    Args:
        log: Directory of the log.
        before_ms: The time, milliseconds since the epoch.

    Raises:
        DataError: A commit is damaged, a file is gone, or what was set aside cannot be removed.
    """
    commits, last = Commits(log), datetime.fromtimestamp(before_ms / 1000, UTC).date()
    num_events = 0
    with commits.lock():
        commits.remove_uncommitted()
        for name, commit in commits:
            left, num_gone = _without_days(commits, commit, last)
            left = _without_aside(left, last, before_ms)
            if left != commit:
                commits.save(name, left)
            if left.merges is not None:
                _prune_merges(commits, name, left, left.merges, before_ms)
            num_events += num_gone
        commits.remove_uncommitted()
        DamagedFiles(log).remove_before(before_ms)
    return num_events


def _without_days(commits: Commits, commit: Commit, last: date) -> tuple[Commit, int]:
    """An append without its days before the last one that goes, and how many events those had."""
    old = [file for file in commit.first_ms if _lies_before(file, last)]
    commits.require(old)
    counts = [pl.scan_parquet(commits.log / file).select(pl.len()).collect().item() for file in old]
    return reduce(Commit.without, old, commit), sum(counts)


def _without_aside(commit: Commit, last: date, before_ms: int) -> Commit:
    """An append that no longer says that there were damaged files which would have gone by now."""
    ends_before = (commit.end_ms or 0) < before_ms
    aside = [
        file
        for file in commit.aside
        if not (_lies_before(file, last) or (file.startswith("_merges/") and ends_before))
    ]
    return commit.model_copy(update={"aside": aside})


def _prune_merges(commits: Commits, name: str, commit: Commit, file: str, before_ms: int) -> None:
    commits.require([file])
    merges = pl.read_parquet(commits.log / file)
    kept = merges.filter(pl.col(MERGE_TIME) >= pl.lit(before_ms).cast(TIMESTAMP))
    pruned = commits.rewrite(name, commit, file, merges, kept)
    if pruned != commit:
        commits.save(name, pruned)


def _lies_before(file: str, day: date) -> bool:
    """Whether a file holds the events of an earlier day."""
    return file.startswith("day=") and date.fromisoformat(file[4:14]) < day
