"""The catalogue and the users on disk: a Parquet file per generation, of which the last is current."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.item_changes import CHANGES_FILE, ItemChanges, changed_rows
from recsys.schema import ITEM_ID, ITEM_SCHEMA, USER_ID, USER_SCHEMA
from recsys.workspace import Workspace, atomic_path

INGEST_LOCK = ".ingest.lock"
"""Name of the file in ``Workspace.root`` that whoever writes items holds."""
TRAINING_LOCK = ".training.lock"
"""Name of the file in ``Workspace.root`` that a training on any machine holds shared till the end."""

_NO_ITEMS = pl.DataFrame(schema=ITEM_SCHEMA)
_NO_USERS = pl.DataFrame(schema=USER_SCHEMA)


def read_items(workspace: Workspace) -> pl.DataFrame:
    """Read the catalogue, with what was changed live: columns of ``ITEM_SCHEMA``, sorted by item id.

    Raises:
        CatalogueError: The changes cannot be read.
        DataError: There is no catalogue yet, or its file is damaged.
    """
    items = _current_items(workspace)
    if items.is_empty():
        raise DataError(
            f"{workspace.items} holds no items; "
            f"run: recsys ingest --items FILE --events FILE --workspace {workspace.root}"
        )
    return items


def read_users(workspace: Workspace) -> pl.DataFrame:
    """Read the users: columns of ``USER_SCHEMA``, sorted by user id; no rows when there are none.

    Raises:
        DataError: The file is damaged.
    """
    return _current(workspace.users, _NO_USERS)


def merged_items(workspace: Workspace, items: pl.DataFrame) -> pl.DataFrame:
    """The catalogue as it will be: the given items replace those of the same id, also where changed live."""
    return _merged(_current_items(workspace), items, ITEM_ID)


def supersede_changes(workspace: Workspace, items: pl.DataFrame) -> None:
    """Let ingested items count instead of what was changed live before; servers take them over at once.

    Raises:
        CatalogueError: The changes cannot be written; do the same again.
    """
    with _changes(workspace) as changes:
        if changes is not None:
            changed = changes.of(items[ITEM_ID].to_list())
            superseded = items.filter(pl.col(ITEM_ID).is_in(list(changed)))
            if not superseded.is_empty():
                changes.put(superseded)


def merged_users(workspace: Workspace, users: pl.DataFrame) -> pl.DataFrame:
    """The users as they will be: the given users replace those of the same id."""
    return _merged(_current(workspace.users, _NO_USERS), users, USER_ID)


def publish(directory: Path, table: pl.DataFrame) -> None:
    """Make a table the current generation of a directory, unless it is already."""
    if table.equals(_current(directory, table.clear())):
        return
    number = max((int(path.stem) for path in directory.glob("*.parquet")), default=0) + 1
    with atomic_path(directory / f"{number:08d}.parquet") as partial:
        table.write_parquet(partial)


@contextmanager
def _changes(workspace: Workspace) -> Iterator[ItemChanges | None]:
    """The changes of a workspace; ``None`` when there never were any."""
    path = workspace.state / CHANGES_FILE
    if not path.exists():
        yield None
        return
    with closing(ItemChanges(path)) as changes:
        yield changes


def _current_items(workspace: Workspace) -> pl.DataFrame:
    """What was ingested, with what was changed live over it."""
    with _changes(workspace) as changes:  # first: what is pruned meanwhile is among the items by then
        changed = [] if changes is None else changes.since(0)
    items = _current(workspace.items, _NO_ITEMS)
    if not changed:
        return items
    old = items.filter(~pl.col(ITEM_ID).is_in([change.item_id for change in changed]))
    return pl.concat([old, changed_rows(changed)]).sort(ITEM_ID)


def _current(directory: Path, empty: pl.DataFrame) -> pl.DataFrame:
    path = max(directory.glob("*.parquet"), default=None)
    if path is None:
        return empty
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"{path} is damaged: {error}; delete it to go back to the generation before"
        ) from error


def _merged(old: pl.DataFrame, new: pl.DataFrame, key: str) -> pl.DataFrame:
    return pl.concat([old.join(new.select(key), on=key, how="anti"), new]).sort(key)
