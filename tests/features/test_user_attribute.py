import math

import pytest

from features import user_attribute
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, both_sides
from tests.recsys.small_catalogue import NOW

EVENTS = [
    ("ann", APPLE, "purchase", NOW - DAY_MS),
    ("ann", DATE, "purchase", NOW - 2 * DAY_MS),
    ("ann", CUP, "like", NOW - 4 * DAY_MS),
]


def test_items_of_one_category_share_its_sum() -> None:
    values = both_sides(user_attribute, EVENTS)
    for item_id in (APPLE, DATE):
        assert values[item_id]["user_category_2d"] == pytest.approx(2**-0.5 + 2**-1)
        assert values[item_id]["user_category_4d"] == pytest.approx(2**-0.25 + 2**-0.5)
        assert values[item_id]["user_category_recency_days"] == 1


def test_the_parent_category_reaches_its_other_children() -> None:
    bread = both_sides(user_attribute, EVENTS)[BREAD]
    assert bread["user_parent_category_2d"] == pytest.approx(2**-0.5 + 2**-1)
    assert bread["user_parent_category_recency_days"] == 1
    assert bread["user_category_2d"] == 0
    assert math.isnan(bread["user_category_recency_days"])


def test_a_brand_reaches_over_categories() -> None:
    values = both_sides(user_attribute, EVENTS)
    assert values[EGG]["user_brand_2d"] == pytest.approx(2**-0.5)
    assert values[EGG]["user_brand_recency_days"] == 1
    assert values[CUP]["user_brand_2d"] == pytest.approx(0.5 * 2**-2)
    assert values[CUP]["user_brand_recency_days"] == 4


def test_an_item_without_an_attribute_has_no_value_for_it() -> None:
    values = both_sides(user_attribute, EVENTS)
    missing = [
        (CUP, "category"),
        (CUP, "parent_category"),
        (EGG, "parent_category"),
        (BREAD, "brand"),
        (DATE, "brand"),
    ]
    for item_id, attribute in missing:
        for suffix in ("2d", "4d", "recency_days"):
            assert math.isnan(values[item_id][f"user_{attribute}_{suffix}"])


def test_event_types_are_weighted_within_a_category() -> None:
    events = [*EVENTS, ("ann", APPLE, "view", NOW - DAY_MS)]
    assert both_sides(user_attribute, events)[DATE]["user_category_2d"] == pytest.approx(
        1.1 * 2**-0.5 + 2**-1
    )
