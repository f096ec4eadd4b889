import math

import pytest

from features import taste
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW, Event

BOUGHT: list[Event] = [
    ("ann", APPLE, "purchase", NOW - 4 * DAY_MS),
    ("ann", BREAD, "purchase", NOW - 8 * DAY_MS),
]


def test_a_share_is_of_its_categorys_first_timers() -> None:
    values = online_side(taste, [])  # by the middle half-life: apple 10, bread 11, cup 12, date 13, egg 14
    assert values[APPLE]["adoption_share"] == pytest.approx(10 / 23)
    assert values[DATE]["adoption_share"] == pytest.approx(13 / 23)
    assert [values[item_id]["adoption_share"] for item_id in (BREAD, EGG)] == [1, 1]
    assert math.isnan(values[CUP]["adoption_share"])


def test_taste_spreads_the_liking_over_the_category() -> None:
    values = online_side(taste, BOUGHT)
    assert values[APPLE]["taste"] == pytest.approx(0.5 * 10 / 23)
    assert values[DATE]["taste"] == pytest.approx(0.5 * 13 / 23)
    assert values[BREAD]["taste"] == pytest.approx(0.25)
    assert values[EGG]["taste"] == 0
    assert math.isnan(values[CUP]["taste"])


def test_the_parent_category_gathers_its_children() -> None:
    values = online_side(taste, BOUGHT)  # food: apple, bread and date, 34 first timers
    for item_id, won in ((APPLE, 10), (BREAD, 11), (DATE, 13)):
        assert values[item_id]["taste_parent"] == pytest.approx(0.75 * won / 34)
    assert math.isnan(values[EGG]["taste_parent"])  # food itself has no parent


def test_the_place_in_the_list_is_among_those_that_have_a_taste() -> None:
    values = online_side(taste, BOUGHT)  # date 0.28, bread 0.25, apple 0.22, egg 0
    above = [values[item_id]["taste_above"] for item_id in (DATE, BREAD, APPLE, EGG)]
    assert above == [0, 0.25, 0.5, 0.75]
    assert math.isnan(values[CUP]["taste_above"])
    parent = [values[item_id]["taste_parent_above"] for item_id in (DATE, BREAD, APPLE)]
    assert parent == pytest.approx([0, 1 / 3, 2 / 3])


def test_dislikes_make_no_taste() -> None:
    values = online_side(taste, [("ann", APPLE, "dislike", NOW - DAY_MS)])
    assert [values[item_id]["taste"] for item_id in (APPLE, BREAD, DATE, EGG)] == [0, 0, 0, 0]
