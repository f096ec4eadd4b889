import math

import pytest

from features import collaborative
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, ITEM_IDS, online_side
from tests.recsys.small_catalogue import NOW, Event

STRENGTH = math.log1p(0.5)
"""Of an apple bought two days ago, which is one half-life."""
BOUGHT: list[Event] = [("ann", APPLE, "purchase", NOW - 2 * DAY_MS)]


def test_neighbours_count_by_strength_and_engagement() -> None:
    values = online_side(collaborative, BOUGHT)
    assert values[DATE]["together"] == pytest.approx(0.5 * STRENGTH)
    assert values[BREAD]["together"] == pytest.approx(0.25 * STRENGTH)
    assert [values[item_id]["together"] for item_id in (APPLE, CUP, EGG)] == [0, 0, 0]


def test_what_follows_counts_less_with_every_step_back() -> None:
    events: list[Event] = [*BOUGHT, ("ann", CUP, "purchase", NOW - DAY_MS)]
    values = online_side(collaborative, events)
    assert values[DATE]["following"] == pytest.approx(0.5)  # of the cup, the latest
    assert values[EGG]["following"] == pytest.approx(0.7 * 0.5)  # of the apple, a step before
    at_once: list[Event] = [*BOUGHT, ("ann", CUP, "purchase", NOW - 2 * DAY_MS)]
    assert online_side(collaborative, at_once)[EGG]["following"] == pytest.approx(0.5)


def test_ease_counts_by_the_root_of_the_engagement() -> None:
    values = online_side(collaborative, BOUGHT)
    assert values[DATE]["ease"] == pytest.approx(0.25 * math.sqrt(2 ** (-2 / 4)))
    assert values[DATE]["ease_recent"] == pytest.approx(0.25 * math.sqrt(2 ** (-2 / 2)))
    assert [values[item_id]["ease"] for item_id in (APPLE, BREAD, CUP, EGG)] == [0, 0, 0, 0]


def test_ease_adds_up_over_the_history() -> None:
    events: list[Event] = [("ann", item_id, "purchase", NOW - 4 * DAY_MS) for item_id in (APPLE, CUP)]
    values = online_side(collaborative, events)
    assert values[DATE]["ease"] == pytest.approx(0.25 * math.sqrt(0.5))
    assert values[EGG]["ease"] == pytest.approx(1.0 * math.sqrt(0.5))
    assert values[EGG]["ease_recent"] == pytest.approx(1.0 * math.sqrt(0.25))


def test_als_reads_the_users_factors_from_the_whole_history() -> None:
    values = online_side(collaborative, BOUGHT)
    engagement = 2 ** (-2 / 4)
    mine = (1 + engagement) / (2 + engagement)
    assert values[APPLE]["als"] == pytest.approx(mine)
    assert values[BREAD]["als"] == pytest.approx(0.5 * mine)
    assert [values[item_id]["als"] for item_id in (CUP, DATE, EGG)] == [0, 0, 0]


def test_every_score_also_says_how_it_stands_in_the_list() -> None:
    values = online_side(collaborative, BOUGHT)
    mean = 0.75 / 5
    spread = math.sqrt((0.5**2 + 0.25**2) / 5 - mean**2)
    assert values[DATE]["together_z"] == pytest.approx((0.5 - mean) / spread)
    assert values[CUP]["together_z"] == pytest.approx(-mean / spread)
    assert [values[item_id]["together_above"] for item_id in ITEM_IDS] == [0.4, 0.2, 0.4, 0, 0.4]
    # one of five has a score: mean 1/5, standard deviation 2/5 of it
    for name, best in (("following", EGG), ("ease", DATE), ("ease_recent", DATE)):
        assert values[best][f"{name}_z"] == pytest.approx(2)
        assert values[CUP][f"{name}_z"] == pytest.approx(-0.5)
        assert (values[best][f"{name}_above"], values[CUP][f"{name}_above"]) == (0, 0.2)


@pytest.mark.parametrize(
    "events", [[], [("ann", DATE, "purchase", NOW - DAY_MS)], [("ann", APPLE, "dislike", NOW - 1)]]
)
def test_nothing_goes_with_nothing(events: list[Event]) -> None:
    for row in online_side(collaborative, events).values():
        assert set(row.values()) == {0}
