from datetime import timedelta

import polars as pl
import pytest

from recsys.errors import DataError
from recsys.schema import TIMESTAMP
from tests.training.baselines.small_log import NOW, history_of, items_of
from training.baselines.click_rate import ClickRate
from training.baselines.interactions import Interactions


@pytest.fixture
def log() -> Interactions:
    shown = [("a", "x", 4.0), ("b", "x", 3.0), ("a", "y", 4.0), ("b", "y", 3.0), ("c", "z", 3.0)]
    clicked = [("a", "x", 3.5), ("b", "x", 2.5), ("a", "y", 3.5)]
    events = [history_of(*shown, event_type="impression"), history_of(*clicked, event_type="click")]
    return Interactions.of(pl.concat([*events, history_of(("c", "organic", 1))]), NOW)


def lists_at(age_days: float, *items: str) -> pl.DataFrame:
    time = pl.lit(NOW).cast(TIMESTAMP) - timedelta(days=age_days)
    return pl.DataFrame({"list_id": ["l"] * len(items), "item_id": items}).with_columns(event_time=time)


def test_the_rate_is_smoothed_towards_that_of_all_items(log: Interactions) -> None:
    # all: 5 impressions and 4 choices, the purchase among them
    scores = ClickRate(strength=5.0).scores(log, lists_at(0, "z", "x", "y"))
    assert scores["item_id"].to_list() == ["z", "x", "y"]
    assert scores["score"].to_list() == pytest.approx([4 / 6, 6 / 7, 5 / 7])


def test_a_list_sees_what_came_strictly_before_it(log: Interactions) -> None:
    # until 3 days before now: 2 impressions, and both were clicked
    scores = ClickRate(strength=1.0).scores(log, lists_at(3, "x", "z"))
    assert scores["score"].to_list() == pytest.approx([1.0, 1.0])
    nothing = ClickRate(strength=1.0).scores(log, lists_at(9, "x"))
    assert nothing["score"].to_list() == [0.0]


def test_everybody_gets_the_items_of_the_best_rate(log: Interactions) -> None:
    fitted = ClickRate(strength=1.0).fit(log)
    assert items_of(fitted.lists(pl.Series(["c"]), 2), "c") == ["x", "y"]


def test_lists_without_a_time_are_refused(log: Interactions) -> None:
    with pytest.raises(DataError, match="event_time"):
        ClickRate().scores(log, lists_at(0, "x").drop("event_time"))
