"""The units of a workspace as they are now.

Files are read once: one that looks as it did then is taken to hold what it held. Of the event log's files the
commits know the digests.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from recsys.errors import BundleError, DataError
from recsys.log_commits import Commits
from recsys.manifest import MANIFEST, SIGNATURE, read_manifest
from recsys.remote.record import Mark
from recsys.remote.units import SET_ASIDE, Content, Part, Unit, commit_path, is_of
from recsys.workspace import Workspace

_SCRATCH = re.compile(r"\..+")


class LostFileError(DataError):
    """A file that should be here is gone."""


class OwnUnits:
    """Looks at one workspace."""

    def __init__(self, workspace: Workspace, marks: dict[str, Mark]) -> None:
        """Args: ``workspace``; ``marks`` of earlier looks, which are added to."""
        self._workspace, self._marks = workspace, marks
        self._commits = Commits(workspace.events)
        self.left_out: dict[str, str] = {}
        """Models that do not verify, and why: they travel nowhere."""

    def look(self, parts: Collection[Part], *, but_lost: bool = False) -> dict[str, Unit]:
        """The units of some parts of the workspace, by name.

        Args:
            parts: Which.
            but_lost: Whether an append of which a file is gone counts as not being here.

        Raises:
            LostFileError: A file is gone, also when it is looked for again.
            DataError: The event log is damaged.
            OSError: A file cannot be read.
        """
        try:
            return self._look(parts, but_lost)
        except LostFileError:  # retention, or whoever replaces a table, may have been faster
            return self._look(parts, but_lost)

    def _look(self, parts: Collection[Part], but_lost: bool) -> dict[str, Unit]:
        self.left_out = {}
        units: dict[str, Unit] = {}
        if "data" in parts:
            units |= dict(self._log(but_lost))
            units |= dict(self._tables())
        if "models" in parts:
            units |= dict(self._models())
        return {name: unit for name, unit in units.items() if is_of(name, parts)}

    def append(self, name: str) -> Unit:
        """The unit of an append to the log; raises as ``look``."""
        path, commit = commit_path(name), self._commits.read(name)
        files = {f"events/{file}": commit.digests.get(file) for file in commit.files}
        unit = {path: self._read(path)} | {file: self._read(file, digest) for file, digest in files.items()}
        return unit | {f"events/{file}": SET_ASIDE for file in commit.aside}

    def _log(self, but_lost: bool) -> Iterator[tuple[str, Unit]]:
        with self._commits.lock():
            for name in self._commits.names():
                try:
                    yield f"log/{name}", self.append(name)
                except LostFileError:
                    if not but_lost:
                        raise
        if (self._workspace.events / "_layout.json").exists():
            yield "layout", self._unit(self._workspace.events / "_layout.json")

    def _tables(self) -> Iterator[tuple[str, Unit]]:
        for name, directory in (("items", self._workspace.items), ("users", self._workspace.users)):
            if current := max(directory.glob("[!.]*.parquet"), default=None):
                yield name, self._unit(current)
        for path in sorted(self._workspace.served_lists.glob("day=*/[!.]*.parquet")):
            yield f"lists/{path.parent.name}/{path.name}", self._unit(path)

    def _models(self) -> Iterator[tuple[str, Unit]]:
        registry = self._workspace.registry
        for directory in sorted((registry / "bundles").glob("[!.]*")):
            try:
                yield f"bundle/{directory.name}", self._bundle(directory)
            except BundleError as error:
                self.left_out[directory.name] = str(error)
        for path in sorted([*registry.glob("decisions/*.jsonl"), *registry.glob("experiments/**/*")]):
            within = path.relative_to(registry)
            if path.is_file() and not any(_SCRATCH.fullmatch(part) for part in within.parts):
                yield f"record/{within.as_posix()}", self._unit(path)
        if (registry / "pointers.json").exists():
            yield "pointers", self._unit(registry / "pointers.json")

    def _bundle(self, directory: Path) -> Unit:
        manifest = read_manifest(directory)
        unit = self._unit(*(path for path in sorted(directory.rglob("*")) if path.is_file()))
        prefix = f"{directory.relative_to(self._workspace.root).as_posix()}/"
        found = {path.removeprefix(prefix): content.sha256 for path, content in unit.items()}
        named = {name: entry.sha256 for name, entry in manifest.files.items()}
        if {name: of for name, of in found.items() if name not in {MANIFEST, SIGNATURE}} != named:
            raise BundleError(f"bundle {directory.name} does not verify; see: recsys models verify")
        return unit

    def _unit(self, *paths: Path) -> Unit:
        names = [path.relative_to(self._workspace.root).as_posix() for path in paths]
        return {name: self._read(name) for name in names}

    def _read(self, name: str, digest: str | None = None) -> Content:
        """What a file holds; where its digest is known, it is believed until the file is sent."""
        path = self._workspace.root / name
        try:
            stat = path.stat()
            if digest is not None:
                return Content(sha256=digest, size=stat.st_size)
            mark = self._marks.get(name)
            if mark is None or not mark.is_of(stat):
                mark = Mark(inode=stat.st_ino, mtime_ns=stat.st_mtime_ns, content=Content.of(path))
                self._marks[name] = mark
        except FileNotFoundError as error:
            raise LostFileError(
                f"{path} is gone; if it was pushed before, run: recsys remote pull URL; "
                "else restore it from a backup"
            ) from error
        return mark.content
