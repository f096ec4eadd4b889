"""The workspace: the one directory that holds a tenant's data, models and reports."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import DataError
from recsys.fault_point import reach
from recsys.unfinished import scratch_beside


@dataclass(frozen=True)
class Workspace:
    """Where everything of one tenant lies."""

    root: Path

    def existing(self) -> "Workspace":
        """This one, for whoever is to find something in it.

        Raises:
            DataError: There is no such directory.
        """
        if not self.root.is_dir():
            raise DataError(f"there is no workspace {self.root}; name the one of your shop with --workspace")
        return self

    @property
    def items(self) -> Path:
        """The catalogue, one Parquet file per ingest generation."""
        return self.root / "items"

    @property
    def users(self) -> Path:
        """The optional users table."""
        return self.root / "users"

    @property
    def events(self) -> Path:
        """The event log, Parquet in hive partitions ``day=YYYY-MM-DD``."""
        return self.root / "events"

    @property
    def rejects(self) -> Path:
        """Rows that ingest refused, with their reasons."""
        return self.root / "rejects"

    @property
    def registry(self) -> Path:
        """Bundles and the pointers to them."""
        return self.root / "registry"

    @property
    def state(self) -> Path:
        """The durable event buffer and the embedded store's files."""
        return self.root / "state"

    @property
    def served_lists(self) -> Path:
        """Lists that were served, Parquet in hive partitions ``day=YYYY-MM-DD``."""
        return self.root / "served_lists"

    @property
    def reports(self) -> Path:
        """Evaluation reports and training logs."""
        return self.root / "reports"

    @property
    def config(self) -> Path:
        """The run configuration, ``recsys.toml``; it may be absent."""
        return self.root / "recsys.toml"

    @property
    def rules(self) -> Path:
        """The business rules, ``rules.toml``; it may be absent."""
        return self.root / "rules.toml"

    @property
    def lexicons(self) -> Path:
        """The shop's own additions to the lexicons that blurbs are checked by; it may be absent."""
        return self.root / "lexicons"


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write to, and rename it into place on success.

    Works for a file and for a directory. What is at the yielded path is flushed to disk before the rename, so
    a reader sees the old content or the new, never half of it. On any exception the partial output is
    removed; that of a process which was killed, by ``recsys.unfinished``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_beside(target) as scratch:
        partial = scratch / target.name
        yield partial
        for path in sorted(partial.rglob("*")) if partial.is_dir() else [partial]:
            sync(path)
        reach("atomic-written")
        partial.replace(target)
        reach("atomic-renamed")
    sync(target.parent)


def move(source: Path, target: Path) -> None:
    """Rename a file that is on disk already; that it has moved is on disk when this returns."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Have what a file or a directory holds on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
