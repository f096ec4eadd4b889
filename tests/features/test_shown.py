import math
from dataclasses import replace

import numpy as np
import pytest

from features import shown
from features.definition import Feature
from recsys.config import Config, RankerConfig
from recsys.moment import Places
from recsys.schema import DAY_MS
from tests.features.small_log import (
    APPLE,
    BREAD,
    CONFIG,
    CUP,
    DATE,
    EGG,
    ITEM_IDS,
    hand_made_parts,
    online_moment,
    online_side,
)
from tests.recsys.small_catalogue import NOW, Event

FEATURES: tuple[Feature, ...] = shown.features(CONFIG.state)
YESTERDAY = NOW - DAY_MS


def listed(user_id: str, *item_ids: str, chosen: tuple[str, ...] = ()) -> list[Event]:
    shown_then: list[Event] = [(user_id, item_id, "impression", YESTERDAY) for item_id in item_ids]
    return shown_then + [(user_id, item_id, "click", YESTERDAY + 1_000) for item_id in chosen]


def test_without_impressions_there_is_nothing_to_say() -> None:
    values = online_side(shown, [("ann", APPLE, "click", YESTERDAY)])
    assert all(math.isnan(value) for row in values.values() for value in row.values())


def test_rates_are_everybodys_and_shrunk() -> None:
    events = [*listed("bob", APPLE, BREAD, chosen=(APPLE,)), *listed("eve", APPLE, CUP)]
    values = online_side(shown, events)
    overall = (1 + 1) / (4 + 5)
    assert values[APPLE]["shown_rate"] == pytest.approx((1 + 20 * overall) / 22)
    assert values[EGG]["shown_rate"] == pytest.approx(overall)
    assert [values[item_id]["shown_count"] for item_id in ITEM_IDS] == [2, 1, 1, 0, 0]
    assert values[APPLE]["shown_rate_above"] == 0
    assert values[APPLE]["user_shown_count"] == 0
    assert values[APPLE]["user_shown_rate"] == pytest.approx(overall)
    assert values[APPLE]["leaning"] == 0


def test_the_users_own_lists_are_counted() -> None:
    values = online_side(shown, listed("ann", APPLE, BREAD, CUP, chosen=(APPLE, BREAD)) * 2)
    assert [values[item_id]["user_item_shown"] for item_id in ITEM_IDS] == [2, 2, 2, 0, 0]
    assert [values[item_id]["user_item_chosen"] for item_id in ITEM_IDS] == [2, 2, 0, 0, 0]
    overall = (2 + 1) / (6 + 5)  # the same click again, at once, counts for the user alone
    assert values[DATE]["user_shown_count"] == 6
    assert values[DATE]["user_shown_rate"] == pytest.approx((4 + 5 * overall) / 11)


def test_who_chooses_fruit_leans_to_fruit() -> None:
    values = online_side(shown, listed("ann", APPLE, BREAD, CUP, chosen=(APPLE,)))
    words = {item_id: values[item_id]["leaning_words"] for item_id in ITEM_IDS}
    # a date shares food and fruit with the apple, an egg food and farm; bread was passed over, and is food
    assert words[APPLE] > words[DATE] > 0
    assert words[EGG] == pytest.approx(words[DATE])
    assert words[CUP] == 0 > words[BREAD]
    assert values[APPLE]["appeal_above"] == 0
    assert values[DATE]["leaning_text"] > values[EGG]["leaning_text"]  # it reads like an apple


def places_of(config: Config) -> list[float]:
    moment = online_moment(listed("ann", APPLE), ("ann", NOW), hand_made_parts(config))
    held = replace(moment, places=Places(np.asarray([1, 3]), np.asarray([0.0, np.nan])))
    column = [feature.name for feature in FEATURES].index(shown.LIST_POSITION)
    found: list[float] = shown.online(held, np.arange(4))[:, column].tolist()
    return found


def test_a_place_that_the_caller_gives_is_read() -> None:
    np.testing.assert_array_equal(places_of(CONFIG), [np.nan, 0, np.nan, np.nan])


@pytest.mark.parametrize("treatment", ["bias", "ignore"])
def test_a_place_is_not_read_where_positions_are_no_feature(treatment: str) -> None:
    ranker = RankerConfig.model_validate({"position": treatment})
    assert all(map(math.isnan, places_of(CONFIG.model_copy(update={"ranker": ranker}))))
