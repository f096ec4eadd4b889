import pytest

from features import alike
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, EGG, online_side
from tests.recsys.small_catalogue import NOW, Event

BOUGHT: list[Event] = [("ann", APPLE, "purchase", NOW - 2 * DAY_MS)]
MINE = (1 + 2 ** (-2 / 4)) / (2 + 2 ** (-2 / 4))
"""What an apple scores by the factors; bread scores half of it."""


def test_an_item_scores_what_it_reads_like() -> None:
    values = online_side(alike, BOUGHT)
    assert values[CUP]["alike_als"] == pytest.approx(0.25 * MINE + 0.75 * 0.5 * MINE)
    assert values[DATE]["alike_als"] == pytest.approx(0.75 * MINE + 0.25 * 0.5 * MINE)
    assert values[EGG]["alike_ease"] == pytest.approx(0.25 * 2 ** (-2 / 8))  # the root of the apple's


def test_an_items_own_score_says_nothing_of_it() -> None:
    values = online_side(alike, BOUGHT)
    assert values[APPLE]["alike_als"] == pytest.approx(0.5 * MINE)  # bread alone
    assert values[BREAD]["alike_als"] == pytest.approx(MINE)  # the apple alone


def test_the_demand_for_what_it_reads_like_counts_too() -> None:
    values = online_side(alike, BOUGHT)
    assert values[EGG]["alike_adoption"] == pytest.approx(13)
    assert values[APPLE]["alike_adoption"] == pytest.approx(11)
    assert values[BREAD]["alike_item"] == pytest.approx(0.5)  # an apple, one half-life ago


def test_the_mean_also_says_how_it_stands_in_the_list() -> None:
    values = online_side(alike, BOUGHT)
    assert values[EGG]["alike_ease_z"] == pytest.approx(2)  # one of five: (1 - 1/5) / sqrt(4/25)
    assert values[APPLE]["alike_ease_z"] == pytest.approx(-0.5)
