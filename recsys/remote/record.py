"""How a workspace's units were when they were last in step with its store: what has changed since, and where.

A record that is lost or old does no harm: what is equal on both sides is in step, and of the rest nobody
knows who changed it, so it counts as changed on both.
"""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.remote.units import Content, Unit
from recsys.user_shard import ALL_USERS, UserShard
from recsys.workspace import Workspace, atomic_path

_FILE = "record.json"
_INCOMING = "incoming"


class Step(BaseModel):
    """One unit when it was in step."""

    there: Unit
    """As the store had it."""
    here: Unit
    """As the workspace had it: the same, or of an append the files of some shards of users."""

    @property
    def is_whole(self) -> bool:
        """Whether the workspace had all of its files."""
        return self.here.keys() == self.there.keys()


class Mark(BaseModel):
    """A file as it was when it was read: it need not be read again while it looks the same."""

    model_config = ConfigDict(frozen=True)
    inode: int
    mtime_ns: int
    content: Content

    def is_of(self, stat: os.stat_result) -> bool:
        """Whether a file that looks so is still the one that was read."""
        looks = self.inode, self.mtime_ns, self.content.size
        return looks == (stat.st_ino, stat.st_mtime_ns, stat.st_size)


class Record(BaseModel):
    """What is known of a workspace and its store."""

    url: str
    writer: str
    """Who pushes from here: random, and no other workspace's."""
    number: int = 0
    """The head that was last seen."""
    shard: int = 0
    num_shards: int = 1
    """Whose events the workspace holds, see ``recsys.user_shard``."""
    units: dict[str, Step] = {}
    cut: frozenset[str] = frozenset()
    """Appends that came from another store, and not wholly."""
    objections: frozenset[str] = frozenset()
    """As both had them."""
    marks: dict[str, Mark] = {}
    """By path within the workspace."""

    def beside(self, number: int) -> "Record":
        """The record of a store that has come so far; a store that was farther once is another one now."""
        if number >= self.number:
            return self
        return self.anew(self.url)

    def anew(self, url: str) -> "Record":
        """The record of another store: nothing is in step with it, and what is held in part still is."""
        cut = {name for name in {*self.cut, *self.units} if self.is_cut(name)}
        kept = {name: getattr(self, name) for name in ("writer", "shard", "num_shards", "marks")}
        return Record(url=url, cut=frozenset(cut), **kept)

    def is_cut(self, name: str) -> bool:
        """Whether only some of a unit's files are held, as of an append that came to a shard of users."""
        step = self.units.get(name)
        return name in self.cut if step is None else not step.is_whole

    @property
    def users(self) -> UserShard:
        """Whose events the workspace holds."""
        return UserShard(self.shard, self.num_shards) if self.num_shards > 1 else ALL_USERS


def read_record(workspace: Workspace, url: str, writer: str) -> Record:
    """What is known of a workspace and a store; of another store than the last one, little.

    Args:
        workspace: Where the record lies.
        url: The store.
        writer: Who pushes from here from now on, if nobody did so far.
    """
    url = url.rstrip("/")  # with or without, it is the same store
    found = _read(workspace)
    if found is None:
        return Record(url=url, writer=writer)
    return found if found.url == url else found.anew(url)


def stored_units(workspace: Workspace) -> frozenset[str]:
    """Names of the units that the last store is known to have; none where nothing is known."""
    found = _read(workspace)
    return frozenset() if found is None else frozenset(found.units)


def known_url(workspace: Workspace) -> str | None:
    """The store that the workspace was last in step with; ``None`` where nothing is known of one."""
    found = _read(workspace)
    return None if found is None else found.url


def save_record(workspace: Workspace, record: Record) -> None:
    """Write what is known."""
    with atomic_path(remote_directory(workspace) / _FILE) as partial:
        partial.write_text(record.model_dump_json(), encoding="utf-8")


def remote_directory(workspace: Workspace) -> Path:
    """Where what concerns the store lies, on the file system of the workspace's data."""
    return workspace.root / ".remote"


def incoming_directory(workspace: Workspace) -> Path:
    """Where files lie that were read from the store and are not yet in their place."""
    return remote_directory(workspace) / _INCOMING


def _read(workspace: Workspace) -> Record | None:
    try:
        return Record.model_validate_json((remote_directory(workspace) / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None
