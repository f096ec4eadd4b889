import math

import pytest

from features import season
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW, Event

OLD: Event = ("bob", BREAD, "purchase", NOW - 16 * DAY_MS)


def test_a_kind_that_is_taken_of_late_rises() -> None:
    values = online_side(season, [("bob", APPLE, "purchase", NOW - DAY_MS), OLD])
    assert values[APPLE]["category_rise"] > 1 > values[BREAD]["category_rise"]
    assert values[DATE]["category_rise"] == values[APPLE]["category_rise"]  # both are fruit


def test_where_all_is_as_ever_nothing_rises() -> None:
    values = online_side(season, [("bob", item_id, "purchase", NOW - DAY_MS) for item_id in (APPLE, BREAD)])
    assert values[APPLE]["category_rise"] == pytest.approx(1)
    assert values[BREAD]["category_rise"] == pytest.approx(1)
    assert math.isnan(values[EGG]["category_rise"])  # nobody took anything of its kind
    assert math.isnan(values[CUP]["category_rise"])  # it has no category


def test_an_item_rises_with_what_it_reads_like() -> None:
    values = online_side(season, [("bob", APPLE, "purchase", NOW - DAY_MS), OLD])
    assert values[DATE]["alike_rise"] > values[CUP]["alike_rise"]  # reads like 3/4 apple; like 3/4 bread
