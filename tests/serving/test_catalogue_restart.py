"""A server that starts after changes of the catalogue were pruned serves what it served before."""

from contextlib import closing
from pathlib import Path

import polars as pl
from structlog.testing import capture_logs

from recsys.answer import Query
from recsys.catalogue import Catalogue
from recsys.change_pruning import prune_changes
from recsys.event_log import EventLog
from recsys.item_changes import CHANGES_FILE, ItemChanges
from recsys.pipeline import Pipeline
from recsys.registry import Registry
from recsys.schema import ITEM_ID, PRICE
from recsys.tables import publish, read_items
from recsys.workspace import Workspace
from serving.compaction import settle_catalogue
from serving.event import Event, event_frame
from serving.loading import load_pipeline
from tests.recsys.small_catalogue import (
    NOW,
    events_frame,
    greengrocer,
    greengrocer_encoder,
    shopping,
    small_config,
    write_shop_bundle,
)


def trained(root: Path) -> Workspace:
    """A shop that deleted kale and made bananas dearer, and then trained its only model."""
    shop, log = Workspace(root / "workspace"), shopping(greengrocer(), num_users=4)
    events = event_frame(
        Event(f"e{number}", kind, user, item, time_ms, time_ms)
        for number, (user, item, kind, time_ms) in enumerate(log)
    )
    EventLog(shop.events).append(events, "history")
    publish(shop.items, greengrocer().frame)
    with closing(ItemChanges(shop.state / CHANGES_FILE)) as changes:
        changes.delete(["kale"])
        banana = greengrocer().frame.filter(pl.col(ITEM_ID) == "banana")
        changes.put(banana.with_columns(pl.lit(9.0).alias(PRICE)))
        changes.put(greengrocer().frame.filter(pl.col(ITEM_ID) == "leek"))
    registry, config = Registry(shop.registry), small_config(greengrocer_encoder(root / "encoder"))
    write_shop_bundle(registry.path("one"), config, Catalogue(read_items(shop)), events_frame(log))
    registry.promote("one")
    return shop


def shown(pipeline: Pipeline) -> list[tuple[str, float]]:
    answer = pipeline.recommend(Query(NOW, None, "home", limit=20))
    return [(item.item_id, item.score) for item in answer.items]


def test_after_a_pruning_a_start_serves_the_same_and_hears_of_the_next_change(tmp_path: Path) -> None:
    shop = trained(tmp_path)
    before = load_pipeline(shop)
    assert prune_changes(shop, at_least=1) == 2
    after = load_pipeline(shop)
    assert shown(after) == shown(before)
    assert not after.knows_item("kale")
    assert after.items(["banana"])[0][PRICE] == 9.0
    assert after.changed_through == after.withdrawn_through == before.changed_through == 3
    with closing(ItemChanges(shop.state / CHANGES_FILE)) as changes:
        changes.delete(["beet"])
        after.withdraw(changes.since(after.withdrawn_through))
    assert "beet" not in [item_id for item_id, _ in shown(after)]
    assert "beet" not in [item_id for item_id, _ in shown(load_pipeline(shop))]


def test_a_start_survives_changes_that_cannot_be_read(tmp_path: Path) -> None:
    shop = Workspace(tmp_path)
    shop.state.mkdir(parents=True)
    (shop.state / CHANGES_FILE).write_text("no database, but long enough to be taken for one" * 30)
    with capture_logs() as lines:
        settle_catalogue(shop)
    assert [line["event"] for line in lines] == ["changes of the catalogue are kept"]
