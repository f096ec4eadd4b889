"""Tests of the catalogue on disk, together with what was changed live."""

from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import DataError
from recsys.ingest import ingest
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.schema import EVENT_TIME, EVENT_TYPE, ITEM_ID, TITLE, USER_ID
from recsys.tables import read_items
from recsys.workspace import Workspace
from tests.recsys.small_catalogue import items_frame


def put(workspace: Workspace, titles: dict[str, str]) -> None:
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        changes.put(items_frame(*({ITEM_ID: item_id, TITLE: title} for item_id, title in titles.items())))


def ingested(root: Path, titles: dict[str, str], bought: list[str]) -> Workspace:
    """Ingest items, and a purchase of each of some."""
    pl.DataFrame({ITEM_ID: list(titles), TITLE: list(titles.values())}).write_parquet(root / "items.parquet")
    events = {EVENT_TYPE: "purchase", USER_ID: "u", ITEM_ID: bought, EVENT_TIME: "2024-01-01T00:00:00Z"}
    pl.DataFrame(events).write_parquet(root / "events.parquet")
    workspace = Workspace(root / "workspace")
    ingest(workspace, root / "items.parquet", root / "events.parquet", max_reject_share=0.0)
    return workspace


def titles_of(workspace: Workspace) -> dict[str, str]:
    return dict(read_items(workspace).select(ITEM_ID, TITLE).iter_rows())


def test_the_catalogue_is_what_was_ingested_with_what_was_changed_since(tmp_path: Path) -> None:
    workspace = ingested(tmp_path, {"a": "old a", "b": "old b", "c": "old c"}, ["a"])
    put(workspace, {"b": "new b", "aa": "new aa"})
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        changes.delete(["c"])
    assert titles_of(workspace) == {"a": "old a", "aa": "new aa", "b": "new b"}
    assert read_items(workspace)[ITEM_ID].is_sorted()


def test_an_ingest_counts_more_than_an_earlier_change(tmp_path: Path) -> None:
    workspace = ingested(tmp_path, {"a": "first"}, ["a"])
    put(workspace, {"a": "changed", "b": "live"})
    ingested(tmp_path, {"a": "second"}, ["a", "b"])  # an event may name what came live
    assert titles_of(workspace) == {"a": "second", "b": "live"}
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        assert [change.item_id for change in changes.since(2)] == ["a"]  # servers hear of it


def test_a_change_counts_more_than_an_earlier_ingest(tmp_path: Path) -> None:
    workspace = ingested(tmp_path, {"a": "first"}, ["a"])
    put(workspace, {"a": "changed"})
    ingested(tmp_path, {"a": "second"}, ["a"])
    put(workspace, {"a": "changed again"})
    assert titles_of(workspace) == {"a": "changed again"}


def test_a_catalogue_of_which_everything_was_deleted_is_none(tmp_path: Path) -> None:
    workspace = ingested(tmp_path, {"a": "first"}, ["a"])
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        changes.delete(["a"])
    with pytest.raises(DataError):
        read_items(workspace)
