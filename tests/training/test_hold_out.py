import shutil
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.schema import EVENT_TIME, ITEM_ID
from recsys.tables import read_items
from recsys.workspace import Workspace
from tests.conftest import Trained
from tests.tiny_shop import CUT, CUT_MS, few_steps, quick_config
from training.evaluation import evaluate
from training.hold_out import hold_out
from training.recipe import train


def test_the_items_that_came_last_lose_their_past_and_keep_what_comes(
    later: Workspace, tmp_path: Path
) -> None:
    events = EventLog(later.events).scan().collect()
    first = events.filter(pl.col(EVENT_TIME) < CUT).group_by(ITEM_ID).agg(pl.col(EVENT_TIME).min())
    held_out = hold_out(later, tmp_path / "copy", 0.2, CUT_MS)
    assert len(held_out.items) == round(0.2 * first.height)
    is_held_out = pl.col(ITEM_ID).is_in(held_out.items.to_list())
    others = first.filter(~is_held_out)[EVENT_TIME].to_list()
    assert max(others) <= min(first.filter(is_held_out)[EVENT_TIME].to_list())
    left = EventLog(held_out.workspace.events).scan().collect()
    gone = events.join(left, on="event_id", how="anti")
    assert set(gone[ITEM_ID]) == set(held_out.items)
    assert gone.filter(pl.col(EVENT_TIME) >= CUT).is_empty()
    assert left.filter(pl.col(EVENT_TIME) < CUT, pl.col(ITEM_ID).is_in(held_out.items.to_list())).is_empty()
    assert read_items(held_out.workspace).equals(read_items(later))


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001, 0.999, -0.2, 3.0])
def test_a_share_that_holds_out_nothing_or_leaves_nothing_is_refused(
    later: Workspace, tmp_path: Path, share: float
) -> None:
    with pytest.raises(DataError, match="between 0 and 1, got"):
        hold_out(later, tmp_path / "copy", share, CUT_MS)
    assert not (tmp_path / "copy").exists()


@pytest.mark.usefixtures("without_charts")
def test_a_report_without_the_newest_items_tells_what_every_strategy_finds_of_them(
    later: Workspace, trained: Trained, tmp_path: Path
) -> None:
    place, page = Workspace(tmp_path / "shop"), tmp_path / "r.html"
    shutil.copytree(later.items, place.items)
    shutil.copytree(later.events, place.events)
    config = few_steps(quick_config(trained.config))
    version = train(place, until_ms=CUT_MS, config=config).version
    report = evaluate(place, html_path=page, strategies=True, hold_out_share=0.2, test_from_ms=CUT_MS).report
    assert report["held_out"]["share"] == 0.2
    assert report["slices"]["cold_items"]["num_users"] > 0
    alone = report["text_alone"]
    assert alone.keys() == {"frozen_text", "tuned_text", "heads_only", "last_n", "lora", "full"}
    for name, by_slice in alone.items():
        assert {"all", "cold_items", "warm_items"} <= by_slice.keys()
        assert ("difference" in by_slice["cold_items"]) == (name != "frozen_text")
    # the bundle's own strategy, trained again on the same, comes to the same
    assert alone[config.encoder.strategy] == alone["tuned_text"]
    assert "without the newest 20%" in page.read_text(encoding="utf-8")
    assert not list(place.reports.glob(".held-out.*"))
    assert not list(place.reports.glob(".strategy.*"))
    bundles = [path.name for path in (place.registry / "bundles").iterdir()]
    assert bundles == [version]
