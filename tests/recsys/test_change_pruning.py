"""Tests of when changes of the catalogue may go."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from recsys.bundle import CATALOGUE_FILE
from recsys.change_pruning import prune_changes
from recsys.file_lock import exclusive, shared
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.registry import Registry
from recsys.schema import AVAILABLE, ITEM_ID, PRICE, TITLE
from recsys.tables import INGEST_LOCK, TRAINING_LOCK, publish, read_items
from recsys.workspace import Workspace
from tests.recsys.small_catalogue import items_frame


def items(**titles: str) -> pl.DataFrame:
    return items_frame(*({ITEM_ID: item_id, TITLE: title} for item_id, title in titles.items()))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two ingested items, of which one was deleted, one changed, and three more came."""
    shop = Workspace(tmp_path)
    publish(shop.items, items(a="old", b="old"))
    with closing(ItemChanges(shop.state / CHANGES_FILE)) as changes:
        changes.delete(["a"])
        changes.put(items_frame({ITEM_ID: "b", TITLE: "new", PRICE: 2.5}, {ITEM_ID: "c", TITLE: "new"}))
        changes.put(items_frame({ITEM_ID: "d", TITLE: "gone", AVAILABLE: False}))
        changes.put(items(last="new"))
    return shop


def bundle(shop: Workspace, version: str, catalogue: pl.DataFrame) -> None:
    path = Registry(shop.registry).path(version) / CATALOGUE_FILE
    path.parent.mkdir(parents=True)
    catalogue.write_parquet(path)


def remaining(shop: Workspace) -> list[tuple[int, str]]:
    with closing(ItemChanges(shop.state / CHANGES_FILE)) as changes:
        return [(change.sequence, change.item_id) for change in changes.since(0)]


def ids(rows: Iterable[tuple[int, str]]) -> set[str]:
    return {item_id for _, item_id in rows}


def test_what_every_bundle_knows_moves_among_the_ingested_items(workspace: Workspace) -> None:
    before = read_items(workspace)
    bundle(workspace, "one", before)
    bundle(workspace, "two", before)
    assert prune_changes(workspace, at_least=1) == 4
    assert remaining(workspace) == [(5, "last")]  # the next number is higher than all that were given
    assert read_items(workspace).equals(before)
    assert prune_changes(workspace, at_least=2) == 0
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        assert changes.delete(["b"]) == 6
        assert changes.since(5)[0].item_id == "b"
    assert set(read_items(workspace)[ITEM_ID]) == {"c", "d", "last"}


def test_an_older_bundle_keeps_what_it_does_not_know(workspace: Workspace) -> None:
    before = read_items(workspace)
    bundle(workspace, "new", before)
    bundle(workspace, "old", pl.concat([items(a="old"), before.filter(pl.col(ITEM_ID) != "d")]))
    assert prune_changes(workspace, at_least=1) == 2
    assert ids(remaining(workspace)) == {"a", "d", "last"}  # it would sell the first and not know the second
    assert read_items(workspace).equals(before)


def test_an_item_that_changed_again_stays(workspace: Workspace) -> None:
    bundle(workspace, "one", read_items(workspace))
    with closing(ItemChanges(workspace.state / CHANGES_FILE)) as changes:
        changes.put(items(c="newer"))
    assert prune_changes(workspace, at_least=1) == 4
    assert ids(remaining(workspace)) == {"c"}


def test_too_few_no_bundle_and_a_damaged_one_prune_nothing(workspace: Workspace) -> None:
    assert prune_changes(workspace, at_least=1) == 0
    bundle(workspace, "one", read_items(workspace))
    assert prune_changes(workspace, at_least=6) == 0
    (Registry(workspace.registry).path("damaged") / "catalogue").mkdir(parents=True)
    assert prune_changes(workspace, at_least=1) == 0
    assert len(remaining(workspace)) == 5


@pytest.mark.parametrize("lock", ["ingest", "training"])
def test_nothing_goes_while_the_catalogue_is_written_or_trained_from(workspace: Workspace, lock: str) -> None:
    bundle(workspace, "one", read_items(workspace))
    held = (
        exclusive(workspace.root / INGEST_LOCK)
        if lock == "ingest"
        else shared(workspace.root / TRAINING_LOCK)
    )
    with held:
        assert prune_changes(workspace, at_least=1) == 0
    assert prune_changes(workspace, at_least=1) == 4


def test_a_workspace_where_everything_was_deleted_can_be_pruned(tmp_path: Path) -> None:
    shop = Workspace(tmp_path)
    publish(shop.items, items(a="old", b="old"))
    with closing(ItemChanges(shop.state / CHANGES_FILE)) as changes:
        changes.delete(["a", "b"])
    bundle(shop, "one", items())
    assert prune_changes(shop, at_least=1) == 1
    assert ids(remaining(shop)) == {"b"}
