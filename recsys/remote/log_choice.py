"""Which files of the store's appends a workspace holds: all, or those of one shard of users.

A shard of users needs the files of the visitors who turned out to be one of them, so all merges come first.
A commit whose other files are not here says so: it does not list them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import polars as pl

from recsys.errors import DataError, ObjectStoreError
from recsys.event_log import EventLog
from recsys.log_commit import Commit
from recsys.remote.head import File, Head
from recsys.remote.objects import Objects
from recsys.remote.transfer import download
from recsys.remote.units import Content, Unit, Units, commit_path
from recsys.schema import MERGE_SCHEMA
from recsys.user_shard import ALL_USERS, UserShard
from recsys.visitor_merges import may_hold, visitors_of
from recsys.workspace import Workspace

_EVENTS = "events"


@dataclass(frozen=True)
class Chosen:
    """An append as the workspace is to have it."""

    append: str
    commit: Commit
    files: Mapping[str, File]
    """What has to be fetched, by path within the workspace."""
    there: Unit

    def here(self) -> Unit:
        """The unit that it will be."""
        paths = [f"{_EVENTS}/{file}" for file in self.commit.files]
        commit = Content.of_bytes(self.commit.to_json().encode())
        return {path: self.there[path] for path in paths} | {commit_path(self.append): commit}


def choose_log(  # noqa: PLR0917
    workspace: Workspace,
    objects: Objects,
    head: Head,
    names: Iterable[str],
    here: Units,
    users: UserShard,
    incoming: Path,
) -> list[Chosen]:
    """Read the commits of some appends from the store, and choose their files.

    Args:
        workspace: Which is to have them.
        objects: The store.
        head: What it holds.
        names: Units of the log.
        here: The workspace's units now; of their files, those that are the same are not chosen.
        users: Whose events the workspace is to hold.
        incoming: Where what is read here lies then.

    Raises:
        ObjectStoreError: A commit is not one.
        MissingObjectError: The store changed meanwhile.
    """
    units = {name: head.units[name] for name in names}
    paths = {name: commit_path(name.removeprefix("log/")) for name in units}
    download(objects, {path: units[name][path] for name, path in paths.items()}, incoming, stays=False)
    commits = {name: _read(objects, incoming / path, units[name]) for name, path in paths.items()}
    visitors = _visitors(workspace, objects, units, commits, users, incoming)
    return [
        _chosen(name.removeprefix("log/"), commit, head, here.get(name, {}), users, visitors)
        for name, commit in commits.items()
    ]


def _chosen(  # noqa: PLR0917
    append: str, commit: Commit, head: Head, here: Unit, users: UserShard, visitors: list[str]
) -> Chosen:
    others = [file for file in commit.first_ms if not may_hold(file, users, visitors)]
    commit = reduce(Commit.without, others, commit)
    files = head.units[f"log/{append}"]
    there = head.contents(f"log/{append}")
    paths = [f"{_EVENTS}/{file}" for file in commit.files]
    new = {path: files[path] for path in paths if here.get(path) != there[path]}
    return Chosen(append, commit, new, there)


def _visitors(  # noqa: PLR0917
    workspace: Workspace,
    objects: Objects,
    units: Mapping[str, dict[str, File]],
    commits: Mapping[str, Commit],
    users: UserShard,
    incoming: Path,
) -> list[str]:
    if users == ALL_USERS:
        return []
    merges = {
        path: units[name][path]
        for name, commit in commits.items()
        if commit.merges is not None and (path := f"{_EVENTS}/{commit.merges}")
    }
    download(objects, merges, incoming)
    frames = [pl.read_parquet(incoming / path) for path in merges]
    known = EventLog(workspace.events).merges()
    return visitors_of(users, pl.concat([pl.DataFrame(schema=MERGE_SCHEMA), known, *frames]))


def _read(objects: Objects, path: Path, unit: Mapping[str, File]) -> Commit:
    try:
        commit = Commit.load(path)
    except DataError as error:
        raise ObjectStoreError(f"{objects.url} holds no commit as {path.name}; push it again") from error
    if not {f"{_EVENTS}/{file}" for file in commit.files} <= unit.keys():
        raise ObjectStoreError(f"{objects.url} lacks files of the append {path.stem}; push it again")
    return commit
