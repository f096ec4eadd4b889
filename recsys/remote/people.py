"""Who was erased and who objects, brought together: nobody is brought back by a machine that did not know.

A tombstone is in both places before anything that was written in its knowledge is seen in either. A commit
says how many tombstones its files heed, and these are among those of every place that has it; so it heeds all
of them where there are no more.
"""

import os
from pathlib import Path

from recsys.digest_names import DIRECTORY, KEY_FILE
from recsys.errors import ConfigError
from recsys.key_file import read_key
from recsys.remote.head import People
from recsys.workspace import Workspace, atomic_path, sync

_WORD = "brought"
_TOMBSTONES, _OBJECTIONS = "tombstones", "objections"


def word_of_erasures(root: Path) -> Path:
    """File of a workspace's ``root`` that is there while no store knows of erasures that a pull brought.

    Whoever looks after the store makes it forget the erased, and then removes the file.
    """
    return root / DIRECTORY / _WORD


def own_people(workspace: Workspace) -> People:
    """Whom a workspace knows to be erased or to object.

    Raises:
        ConfigError: Their key is damaged.
    """
    key = workspace.root / DIRECTORY / KEY_FILE
    return People(
        key=read_key(key).hex() if key.exists() else None,
        tombstones=_names(workspace, _TOMBSTONES),
        objections=_names(workspace, _OBJECTIONS),
    )


def take_people(workspace: Workspace, url: str, there: People, objections_before: frozenset[str]) -> bool:
    """Let a workspace know of those whom the store knows; whether somebody was erased that it knew not of.

    Args:
        workspace: Where they become known.
        url: The store's.
        there: Whom the store knows.
        objections_before: Who objected when both were in step.

    Raises:
        ConfigError: The workspace names people by another key, so nobody can tell who is who.
    """
    here = own_people(workspace)
    if here.key is not None and there.key is not None and here.key != there.key:
        raise ConfigError(
            f"{workspace.root / DIRECTORY / KEY_FILE} is another key than the store's: somebody was erased "
            "or objected here before the first pull; pull into a new workspace, and say it there again: "
            f"recsys remote pull {url} --workspace NEW"
        )
    if here.key is None and there.key is not None:
        _write_key(workspace.root / DIRECTORY / KEY_FILE, there.key)
    new = there.tombstones - here.tombstones
    for _ in range(2 if new else 0):  # before, for this may be killed; after, for a server looks at any time
        word_of_erasures(workspace.root).parent.mkdir(exist_ok=True)
        word_of_erasures(workspace.root).touch()
        _change(workspace, _TOMBSTONES, new, frozenset())
    added, lifted = there.objections - objections_before, objections_before - there.objections
    _change(workspace, _OBJECTIONS, added - here.objections, lifted & here.objections)
    return bool(new)


def together(here: People, there: People, objections_before: frozenset[str]) -> People:
    """Whom the store is to know, of a workspace that knows all of whom the store knew."""
    lifted = objections_before - here.objections
    return People(
        key=there.key or here.key,
        tombstones=here.tombstones | there.tombstones,
        objections=(there.objections | here.objections) - lifted,
    )


def _names(workspace: Workspace, kind: str) -> frozenset[str]:
    directory = workspace.root / DIRECTORY / kind
    return frozenset(os.listdir(directory)) if directory.is_dir() else frozenset()  # noqa: PTH208


def _change(workspace: Workspace, kind: str, added: frozenset[str], removed: frozenset[str]) -> None:
    directory = workspace.root / DIRECTORY / kind
    if added:
        directory.mkdir(parents=True, exist_ok=True)
    for name in added:
        (directory / name).touch()
    for name in removed:
        (directory / name).unlink(missing_ok=True)
    if added or removed:
        sync(directory)


def _write_key(path: Path, key: str) -> None:
    with atomic_path(path) as partial:
        partial.touch(0o600)
        partial.write_text(key, encoding="ascii")
