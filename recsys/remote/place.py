"""Puts what was fetched into its place in the workspace, each unit in one step."""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from recsys.errors import ModelConflictError, ObjectStoreError
from recsys.fault_point import reach
from recsys.file_lock import exclusive
from recsys.manifest import MANIFEST, SIGNATURE, read_manifest, verify_files
from recsys.registry import POINTERS
from recsys.remote.record import incoming_directory
from recsys.remote.units import Content, Unit, kind_of
from recsys.table_sweep import LISTS_LOCK
from recsys.tables import INGEST_LOCK
from recsys.workspace import Workspace, atomic_path, move

_ORDER = ("layout", "lists", "items", "users", "bundle", "record", "pointers")
_TABLES = {"items", "users"}


def in_order(names: Collection[str]) -> list[str]:
    """Units in the order in which they may be seen: what names others comes after them."""
    return sorted(names, key=lambda name: (_ORDER.index(kind_of(name)), name))


def place(workspace: Workspace, url: str, name: str, there: Unit, before: Unit | None) -> None:
    """Put a unit that is no append into its place; it is the old one or the new one.

    Args:
        workspace: Where.
        url: The store's.
        name: The unit's.
        there: Its files, which lie among the incoming.
        before: What the workspace had as this unit when that was looked at, if anything.

    Raises:
        BundleError: It is a model that does not verify.
        ModelConflictError: The pointers were changed here meanwhile.
    """
    incoming = incoming_directory(workspace)
    kind = kind_of(name)
    if kind == "bundle" and not (workspace.root / "registry" / "bundles" / name.partition("/")[2]).exists():
        _place_bundle(workspace, name.partition("/")[2], there, incoming)
        return
    with ExitStack() as held:
        if kind == "pointers":
            held.enter_context(exclusive(workspace.registry / f".{POINTERS}.lock"))
            _require_unchanged(workspace, url, before)
        if kind in _TABLES:
            held.enter_context(exclusive(workspace.root / INGEST_LOCK))
        if kind == "lists":
            held.enter_context(exclusive(workspace.served_lists / LISTS_LOCK))
        for path in there:
            move(incoming / path, workspace.root / path)
        for path in set(before or ()) - set(there) if kind in _TABLES else ():
            if path > max(there):  # the highest generation is the current one
                (workspace.root / path).unlink(missing_ok=True)
    reach("remote-placed")


def remove(workspace: Workspace, unit: Unit) -> None:
    """Remove the files of served lists that the store has no more."""
    with exclusive(workspace.served_lists / LISTS_LOCK):
        for path in unit:
            (workspace.root / path).unlink(missing_ok=True)


def join_lines(workspace: Workspace, path: str) -> None:
    """Add the lines that were written to a file here to those that were written there, which come first."""
    theirs = (incoming_directory(workspace) / path).read_text(encoding="utf-8").splitlines()
    own = (workspace.root / path).read_text(encoding="utf-8").splitlines()
    with atomic_path(workspace.root / path) as partial:
        lines = [*theirs, *(line for line in own if line not in theirs)]
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _place_bundle(workspace: Workspace, version: str, there: Mapping[str, Content], incoming: Path) -> None:
    target = workspace.registry / "bundles" / version
    within = f"registry/bundles/{version}/"
    with atomic_path(target) as directory:
        ordered = sorted(there, key=lambda path: path.removeprefix(within) in {MANIFEST, SIGNATURE})
        for path in ordered:
            move(incoming / path, directory / path.removeprefix(within))
        manifest = read_manifest(directory)
        if manifest.version != version:
            raise ObjectStoreError(f"bundle {version!r} of the store says that it is {manifest.version!r}")
        verify_files(directory, manifest)
    reach("remote-placed")


def _require_unchanged(workspace: Workspace, url: str, before: Unit | None) -> None:
    path = workspace.registry / POINTERS
    now = Content.of(path) if path.exists() else None
    if now != (None if before is None else next(iter(before.values()))):
        raise ModelConflictError(
            "the pointers were changed here while others were brought, and stay so; run again: "
            f"recsys remote pull {url}"
        )
