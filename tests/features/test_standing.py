import math

import pytest

from features import standing
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW, Event

BOUGHT: list[Event] = [
    ("ann", APPLE, "purchase", NOW - 4 * DAY_MS),
    ("ann", BREAD, "purchase", NOW - 8 * DAY_MS),
    ("bob", CUP, "purchase", NOW - 4 * DAY_MS),
    ("bob", CUP, "purchase", NOW - 5 * DAY_MS),
]


def test_own_items_stand_before_all_others() -> None:
    values = online_side(standing, BOUGHT)
    above = [values[item_id]["user_item_4d_above"] for item_id in (APPLE, BREAD, CUP, DATE, EGG)]
    assert above == pytest.approx([0, 0.2, 0.4, 0.4, 0.4])


def test_popular_items_stand_by_everybodys_events() -> None:
    values = online_side(standing, BOUGHT)
    above = [values[item_id]["item_4d_above"] for item_id in (CUP, APPLE, BREAD, DATE, EGG)]
    assert above == pytest.approx([0, 0.2, 0.4, 0.6, 0.6])


def test_adoption_stands_by_the_bundles_rates() -> None:
    values = online_side(standing, [])  # later items won more users
    above = [values[item_id]["adoption_4d_above"] for item_id in (EGG, DATE, CUP, BREAD, APPLE)]
    assert above == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_recency_stands_among_what_the_user_had() -> None:
    values = online_side(standing, BOUGHT)
    assert [values[item_id]["user_item_recency_above"] for item_id in (APPLE, BREAD)] == [0, 0.5]
    assert math.isnan(values[CUP]["user_item_recency_above"])
