"""The tiny shop with a few odd users and items besides, and a bundle in which one item cannot be sold."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.manifest import FileEntry, read_manifest, write_manifest
from recsys.registry import Registry
from recsys.schema import AVAILABLE, EVENT_TIME, EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT, NEW_ITEM, ingest_shop

MUG = "mug"
"""In the catalogue of the workspace and not in that of the bundle."""
SOLD_OUT = "coffee-0"
"""Not available, in the bundle's catalogue."""
_ROWS: list[tuple[str, str, str, datetime]] = [
    ("purchase", "mug-lover", MUG, CUT - timedelta(days=3)),
    ("view", "mug-lover", MUG, CUT - timedelta(days=2)),
    ("impression", "watcher", "music-1", CUT - timedelta(days=2)),
    ("impression", "watcher", "music-2", CUT - timedelta(days=1)),
    ("purchase", "sleeper", "paint-1", CUT - timedelta(days=600)),
    ("purchase", "mixed", "paint-1", CUT - timedelta(days=600)),
    ("purchase", "mixed", "paint-2", CUT - timedelta(days=5)),
    ("purchase", "mixed", "paint-2", CUT - timedelta(days=4)),
    ("purchase", "mixed", MUG, CUT - timedelta(days=4)),
    ("impression", "mixed", "paint-2", CUT - timedelta(hours=5)),
]


@pytest.fixture(scope="session")
def odd(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose log knows more than its bundle; nobody may write to it."""
    columns = [EVENT_TYPE, USER_ID, ITEM_ID, EVENT_TIME]
    rows = pl.DataFrame(_ROWS, schema=columns, orient="row").cast({EVENT_TIME: TIMESTAMP})
    events = pl.concat([trained.shop.history, rows])
    mug = trained.shop.items.filter(pl.col(ITEM_ID) == NEW_ITEM).with_columns(pl.lit(MUG).alias(ITEM_ID))
    workspace = ingest_shop(tmp_path_factory.mktemp("odd"), pl.concat([trained.shop.items, mug]), events)
    shutil.copytree(trained.workspace.registry, workspace.registry)
    _sell_out(Registry(workspace.registry).stable())
    return workspace


def _sell_out(bundle: Path) -> None:
    name = "catalogue/items.parquet"
    items = pl.read_parquet(bundle / name)
    sold_out = pl.when(pl.col(ITEM_ID) == SOLD_OUT).then(False).otherwise(pl.col(AVAILABLE))
    items.with_columns(sold_out.alias(AVAILABLE)).write_parquet(bundle / name)
    manifest = read_manifest(bundle)
    files = {**manifest.files, name: FileEntry.of(bundle / name)}
    write_manifest(bundle, manifest.model_copy(update={"files": files}))
