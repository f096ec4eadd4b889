import math

import pytest

from features import together
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW

STRENGTH = math.log1p(0.5)
"""Of an apple bought two days ago, which is one half-life."""
BOUGHT = [("ann", APPLE, "purchase", NOW - 2 * DAY_MS)]


def test_neighbours_count_by_strength_and_engagement() -> None:
    values = online_side(together, BOUGHT)
    assert values[DATE]["together"] == pytest.approx(0.5 * STRENGTH)
    assert values[BREAD]["together"] == pytest.approx(0.25 * STRENGTH)
    assert [values[item_id]["together"] for item_id in (APPLE, CUP, EGG)] == [0, 0, 0]


def test_the_strength_is_standardised_within_the_list() -> None:
    values = online_side(together, BOUGHT)
    mean = 0.75 / 5
    spread = math.sqrt((0.5**2 + 0.25**2) / 5 - mean**2)
    assert values[DATE]["together_z"] == pytest.approx((0.5 - mean) / spread)
    assert values[CUP]["together_z"] == pytest.approx(-mean / spread)


@pytest.mark.parametrize(
    "events", [[], [("ann", CUP, "purchase", NOW - DAY_MS)], [("ann", APPLE, "dislike", NOW - 1)]]
)
def test_nothing_goes_with_nothing(events: list[tuple[str, str, str, int]]) -> None:
    for row in online_side(together, events).values():
        assert row == {"together": 0, "together_z": 0}
