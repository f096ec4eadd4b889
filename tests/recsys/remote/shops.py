"""Small workspaces, and stores for them."""

from pathlib import Path

import polars as pl

from recsys.event_log import EventLog
from recsys.log_erasure import forget_erased
from recsys.registry import Registry
from recsys.remote.objects import Objects
from recsys.remote.opening import open_objects
from recsys.schema import (
    EVENT_ID,
    ITEM_ID,
    ITEM_SCHEMA,
    MERGE_SCHEMA,
    MERGE_TIME,
    TIMESTAMP,
    USER_ID,
    VISITOR,
)
from recsys.tables import publish
from recsys.tombstones import Tombstones
from recsys.workspace import Workspace
from tests.recsys.log_events import HOUR, NOON, event_rows
from tests.recsys.test_manifest import write_small_bundle


def new_store(number: int = 0, kind: str = "memory", root: Path | None = None) -> Objects:
    return open_objects(f"memory://shop-{number}" if kind == "memory" else f"file://{root}/store")


def events(*rows: tuple[str, str]) -> pl.DataFrame:
    """Purchases of (event id, user id) at noon."""
    return event_rows([EVENT_ID, USER_ID], rows)


def merge(visitor: str, user: str) -> pl.DataFrame:
    frame = pl.DataFrame({VISITOR: [visitor], USER_ID: [user], MERGE_TIME: [NOON]})
    return (
        frame.with_columns(pl.col(MERGE_TIME).cast(TIMESTAMP)).select(list(MERGE_SCHEMA)).cast(MERGE_SCHEMA)
    )


class Shop:
    """One machine's workspace."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root)
        self.log = EventLog(self.workspace.events)
        self.registry = Registry(self.workspace.registry)

    def buy(self, name: str, *rows: tuple[str, str]) -> None:
        self.log.append(events(*rows), name)

    def offer(self, *titles: str) -> None:
        items = pl.DataFrame({ITEM_ID: list(titles), "title": list(titles)})
        publish(
            self.workspace.items,
            pl.concat([pl.DataFrame(schema=ITEM_SCHEMA), items], how="diagonal"),
        )

    def train(self, version: str, *, promote: bool = True) -> None:
        write_small_bundle(self.registry.path(version))
        if promote:
            self.registry.promote(version)

    def erase(self, user: str) -> None:
        Tombstones(self.workspace.root).add([user], NOON + HOUR)
        forget_erased(self.log.path)

    def bought(self) -> set[str]:
        return set(self.log.event_ids())

    def items(self) -> set[str]:
        path = max(self.workspace.items.glob("*.parquet"))
        return set(pl.read_parquet(path)[ITEM_ID])


def everything(objects: Objects) -> bytes:
    """All that lies in a store, names included, heads unpacked."""
    import gzip

    parts = []
    for name in [*objects.list("head"), *objects.list("data")]:
        content = objects.read(name)
        parts += [name.encode(), gzip.decompress(content) if name.endswith(".gz") else content]
    return b"\n".join(parts)
