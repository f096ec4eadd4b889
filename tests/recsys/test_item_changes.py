from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.errors import CatalogueError
from recsys.item_changes import ItemChanges, changed_rows
from recsys.schema import ATTRIBUTES, AVAILABLE, CATEGORY, CREATED_TIME, ITEM_ID, PRICE, TAGS, TITLE
from tests.recsys.small_catalogue import items_frame

TEA = {
    ITEM_ID: "té\n1",
    TITLE: "green \u2028 tea",
    TAGS: ["hot", "leaf"],
    CATEGORY: ["Shop", "Tea"],
    PRICE: 3.25,
    CREATED_TIME: datetime(2024, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC),
    ATTRIBUTES: [{"key": "size", "value": "1 kg"}],
}
MILK = {ITEM_ID: "milk", TITLE: "milk", AVAILABLE: False}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalogue.sqlite"


def test_items_come_back_as_they_were_put(path: Path) -> None:
    items = items_frame(TEA, MILK)
    ItemChanges(path).put(items)
    changes = ItemChanges(path).since(0)
    assert changed_rows(changes).equals(items)
    assert [change.is_for_sale for change in changes] == [True, False]


def test_the_last_change_of_an_item_is_the_one_that_counts(path: Path) -> None:
    changes = ItemChanges(path)
    assert changes.latest() == 0
    assert changes.put(items_frame(TEA, MILK)) == 2
    assert changes.delete(["milk", "milk", "nobody knows it"]) == 4
    assert changes.put(items_frame(TEA | {PRICE: 4.0})) == 5
    found = [(change.sequence, change.item_id, change.item is None) for change in changes.since(0)]
    assert found == [(3, "milk", True), (4, "nobody knows it", True), (5, TEA[ITEM_ID], False)]
    assert [change.sequence for change in changes.since(4)] == [5]


def test_another_process_sees_a_change_once_it_was_made(path: Path) -> None:
    ours, theirs = ItemChanges(path), ItemChanges(path)
    ours.put(items_frame(MILK))
    assert theirs.latest() == 1
    theirs.delete(["milk"])
    assert ours.latest() == 2
    assert ours.of(["milk", "tea"])["milk"].item is None


def test_many_ids_are_found_at_once(path: Path) -> None:
    changes, ids = ItemChanges(path), [f"item-{i}" for i in range(1200)]
    changes.delete(ids)
    assert changes.of(ids).keys() == set(ids)


def test_a_file_that_was_moved_away_tells_nothing_any_more(path: Path) -> None:
    changes = ItemChanges(path)
    changes.delete(["milk"])
    path.rename(path.with_name("old"))
    with pytest.raises(CatalogueError):
        changes.latest()
    with pytest.raises(CatalogueError):
        changes.delete(["milk"])
    ItemChanges(path)  # another one in its place
    with pytest.raises(CatalogueError):
        changes.since(0)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("no database, but long enough to be taken for one" * 30)
    with pytest.raises(CatalogueError):
        ItemChanges(path)


def test_what_was_closed_stores_nothing(path: Path) -> None:
    changes = ItemChanges(path)
    changes.close()
    with pytest.raises(CatalogueError):
        changes.delete(["milk"])
