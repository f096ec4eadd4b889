from datetime import timedelta

import pytest

from recsys.config import Config, RepeatConfig
from recsys.repeats import shown_in_vain
from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import NOW, greengrocer, state_of

CATALOGUE = greengrocer()
CONFIG = RepeatConfig(times=3, window=timedelta(days=7))


def in_vain(*events: tuple[str, str, float]) -> list[str]:
    """Items shown in vain after events of (item, type, days ago)."""
    state = state_of(
        sorted((("u", i, t, NOW - round(d * DAY_MS)) for i, t, d in events), key=lambda e: e[3]), Config()
    )
    return [CATALOGUE.item_ids[i] for i in shown_in_vain(state, CATALOGUE, CONFIG, NOW)]


def test_an_item_shown_often_without_any_engagement_is_told() -> None:
    shown = [("leek", "impression", day) for day in (1, 2, 3)]
    assert in_vain(*shown) == ["leek"]
    assert in_vain(*shown[:2]) == []
    assert in_vain(
        *shown, ("gone", "impression", 1), ("gone", "impression", 2), ("gone", "impression", 3)
    ) == ["leek"]


@pytest.mark.parametrize("event_type", ["click", "add_to_cart", "purchase", "like"])
def test_an_engagement_within_the_window_clears_it(event_type: str) -> None:
    shown = [("leek", "impression", day) for day in (1, 2, 3)]
    assert in_vain(*shown, ("leek", event_type, 4)) == []
    assert in_vain(*shown, ("leek", event_type, 8)) == ["leek"]
    assert in_vain(*shown, ("kale", event_type, 1)) == ["leek"]


def test_impressions_before_the_window_do_not_count_as_those_within() -> None:
    assert in_vain(*[("leek", "impression", day) for day in (8, 9, 10)]) == []
    assert in_vain(*[("leek", "impression", day) for day in (1, 100, 101, 102)]) == []
    assert in_vain(*[("leek", "impression", day) for day in range(1, 15)]) == ["leek"]


def test_nobody_was_shown_anything() -> None:
    assert shown_in_vain(None, CATALOGUE, CONFIG, NOW).tolist() == []
