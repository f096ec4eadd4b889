"""Appends that were written elsewhere, and come to the event log by moving their files."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from recsys.fault_point import reach
from recsys.log_commit import Commit
from recsys.log_commits import Commits, check_name
from recsys.workspace import sync


def adopt(log: Path, directory: Path, commit: Commit, name: str) -> None:
    """Add what ``write_events`` wrote elsewhere on the same file system, in one step, as an append is.

    Args:
        log: Directory of the log.
        directory: Where its files lie, with the paths that they are to have in the log; they are moved.
        commit: What they hold, all of it.
        name: Names this append, see ``EventLog.append``; appended before, it adds nothing.

    Raises:
        ValueError: The name is not as described.
        DataError: A file is not there.
    """
    if name not in Commits(log):
        replace(log, directory, {name: commit})


def replace(log: Path, directory: Path, appends: Mapping[str, Commit]) -> None:
    """Let appends be what they are elsewhere, each in one step, whether or not they are in the log.

    Args:
        log: Directory of the log.
        directory: Where files lie, as for ``adopt``; one that is not there is in the log already.
        appends: What they hold, by name.

    Raises:
        ValueError: A name is not as described.
        DataError: A commit is damaged, or a file is neither here nor there.
    """
    for name in appends:
        check_name(name)
    commits = Commits(log)
    with commits.lock():
        commits.remove_uncommitted()
        new = [
            file for name, commit in appends.items() for file in _prepare(commits, directory, commit, name)
        ]
        _move(new, directory, log)
        reach("log-written")
        for name, commit in appends.items():
            commits.save(name, commit)
            reach("log-committed")
        commits.remove_uncommitted()


def _prepare(commits: Commits, directory: Path, commit: Commit, name: str) -> list[str]:
    """The files of an append that are to be moved; of those that they replace, no digest is known now."""
    new = [file for file in commit.files if (directory / file).is_file()]
    commits.require(file for file in commit.files if file not in new)
    if name in commits:  # a crash leaves a file without a digest, and none with a wrong one
        old = commits.read(name)
        known = reduce(lambda left, file: left.with_digest(file, None), new, old)
        if known != old:
            commits.save(name, known)
    return new


def _move(files: list[str], directory: Path, log: Path) -> None:
    for file in files:  # directories once, not once a file
        (log / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).replace(log / file)
        reach("log-moved")
    for parent in {(log / file).parent for file in files}:
        sync(parent)
