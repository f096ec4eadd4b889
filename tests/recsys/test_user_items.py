import numpy as np
import pytest

from recsys.config import Config, EncoderConfig, StateConfig
from recsys.schema import DAY_MS, EVENT_TYPE_CODES
from recsys.user_items import UserItems, user_items
from tests.recsys.small_catalogue import NOW, Event, greengrocer, state_of

CATALOGUE = greengrocer()
CONFIG = Config(
    state=StateConfig(half_lives_days=(1.0, 4.0), max_age_days=10.0),
    encoder=EncoderConfig(history_length=2),
)


def read(*events: tuple[str, str, float], config: Config = CONFIG) -> UserItems:
    """A user's items from (item, event type, age in days)."""
    log: list[Event] = [("u", item_id, name, NOW - round(age * DAY_MS)) for item_id, name, age in events]
    return user_items(state_of(log, config), CATALOGUE, config, NOW)


def ids(positions: np.ndarray) -> list[str]:
    return [CATALOGUE.item_ids[i] for i in positions]


def test_event_types_are_weighted_and_decayed_together() -> None:
    user = read(("leek", "purchase", 1), ("leek", "view", 2), ("leek", "dislike", 4))
    # purchase 1, view 0.1, dislike -1; half-lives of 1 and of 4 days
    assert user.engagement[0, 0] == pytest.approx(1 / 2 + 0.1 / 4 - 1 / 16)
    assert user.engagement[0, 1] == pytest.approx(2 ** (-1 / 4) + 0.1 * 2 ** (-1 / 2) - 1 / 2)


def test_items_come_by_position_with_their_times_and_counts() -> None:
    user = read(("leek", "purchase", 3), ("beet", "view", 2), ("leek", "view", 1), ("leek", "dislike", 0.5))
    assert ids(user.positions) == ["beet", "leek"]
    assert user.counts.tolist() == [1, 2]  # a dislike is no event of a positive type
    assert user.first_ms.tolist() == [NOW - 2 * DAY_MS, NOW - 3 * DAY_MS]
    assert user.last_ms.tolist() == [NOW - 2 * DAY_MS, NOW - DAY_MS // 2]
    assert user.basket_ms.tolist() == [NOW - 3 * DAY_MS]
    assert user.latest_ms == NOW - DAY_MS // 2


def test_what_expired_is_forgotten() -> None:
    user = read(("leek", "purchase", 10.01), ("beet", "purchase", 10))
    assert ids(user.positions) == ["beet"]
    assert user.basket_ms.tolist() == [NOW - 10 * DAY_MS]


def test_unknown_items_and_types_without_weight_are_left_out() -> None:
    user = read(("not in the catalogue", "purchase", 1), ("leek", "impression", 1), ("beet", "view", 1))
    assert ids(user.positions) == ["beet"]
    assert len(user.basket_ms) == 1  # the basket was still there


def test_what_was_shown_is_kept_with_how_often_it_was_chosen() -> None:
    shown = read(
        *(("leek", "impression", days) for days in (1, 2, 3)),
        *(("leek", name, 1) for name in ("click", "click", "purchase", "view")),
        ("beet", "impression", 2),
        *(("beet", "click", days) for days in (1, 2)),
        ("kale", "click", 1),
        ("carrot", "impression", 10.01),
    ).shown
    assert ids(shown.positions) == ["beet", "leek"]
    assert shown.impressions.tolist() == [1, 3]
    assert shown.engaged.tolist() == [1, 2]  # at most once an impression; of a click and its purchase, one


def test_the_recent_items_are_the_newest_liked_ones() -> None:
    user = read(
        ("leek", "purchase", 3), ("beet", "view", 2), ("kale", "click", 1), ("carrot", "dislike", 0.5)
    )
    assert ids(user.recent.positions) == ["kale", "beet"]
    assert user.recent.event_types.tolist() == [EVENT_TYPE_CODES["click"], EVENT_TYPE_CODES["view"]]
    assert user.recent.last_ms.tolist() == [NOW - DAY_MS, NOW - 2 * DAY_MS]
    assert user.recent.counts.tolist() == [1, 1]


def test_a_recent_item_stands_once_by_its_newest_event() -> None:
    user = read(("leek", "purchase", 3), ("leek", "purchase", 2), ("leek", "view", 1), ("beet", "view", 4))
    assert ids(user.recent.positions) == ["leek", "beet"]
    assert user.recent.event_types.tolist() == [EVENT_TYPE_CODES["view"]] * 2


def test_nobody_has_nothing() -> None:
    user = read()
    assert user.latest_ms == 0
    assert user.engagement.shape == (0, 2)
    for array in (user.positions, user.counts, user.first_ms, user.basket_ms, user.recent.positions):
        assert array.shape == (0,)


def test_reading_does_not_change_the_state() -> None:
    state = state_of(
        [("u", "leek", "purchase", NOW - DAY_MS), ("u", "beet", "view", NOW - 99 * DAY_MS)], CONFIG
    )
    before = state.to_bytes()
    user_items(state, CATALOGUE, CONFIG, NOW)
    assert state.to_bytes() == before
