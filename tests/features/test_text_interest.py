import math

import pytest

from features import text_interest
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, DATE, ITEM_IDS, online_side
from tests.recsys.small_catalogue import NOW


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_after_one_purchase_the_interest_is_that_item() -> None:
    values = online_side(text_interest, [("ann", APPLE, "purchase", NOW - DAY_MS)])
    assert values[APPLE]["interest"] == pytest.approx(sigmoid(2 * 1 - 1))
    assert values[BREAD]["interest"] == pytest.approx(sigmoid(-1))
    assert values[APPLE]["recent_similarity"] == 1
    assert values[BREAD]["recent_similarity"] == 0


def test_the_interest_is_standardised_within_the_list() -> None:
    values = online_side(text_interest, [("ann", APPLE, "purchase", NOW - DAY_MS)])
    mean, spread = 0.2, 0.4
    assert values[APPLE]["interest_z"] == pytest.approx((1 - mean) / spread)
    assert values[BREAD]["interest_z"] == pytest.approx(-mean / spread)


def test_two_items_of_one_moment_share_the_interest() -> None:
    events = [("ann", item_id, "purchase", NOW - DAY_MS) for item_id in (APPLE, DATE)]
    values = online_side(text_interest, events)
    assert values[APPLE]["interest"] == pytest.approx(sigmoid(2 * 2**-0.5 - 1))
    assert values[DATE]["interest"] == values[APPLE]["interest"]
    assert values[DATE]["recent_similarity"] == 1


def test_only_the_recent_history_is_read() -> None:
    events = [("ann", item_id, "purchase", NOW - days * DAY_MS) for days, item_id in enumerate(ITEM_IDS, 1)]
    values = online_side(text_interest, events)
    assert [values[item_id]["recent_similarity"] for item_id in ITEM_IDS] == [1, 1, 1, 0, 0]


def test_somebody_unknown_is_interested_in_nothing_in_particular() -> None:
    values = online_side(text_interest, [])
    for row in values.values():
        assert row["interest"] == pytest.approx(sigmoid(-1))
        assert row["interest_z"] == 0
        assert math.isnan(row["recent_similarity"])
