import numpy as np
import pytest

from features.registry import names
from recsys.config import Config, PlacementConfig, RankerConfig
from recsys.errors import LeakageError
from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import (
    HOUR_MS,
    NOW,
    Event,
    events_frame,
    greengrocer,
    parts_without_encoder,
    shopping,
    small_config,
)
from training.decision_table import collect_decisions
from training.decisions import Decisions
from training.unknown_items import collect_unknown, newest

CATALOGUE = greengrocer()
NEWEST = CATALOGUE.item_ids[-1]
OLD = [event for event in shopping(CATALOGUE) if event[1] != NEWEST]
BUYERS = ("user-0", "user-1", "user-3", "user-4")
HISTORY: list[Event] = [
    *OLD,
    *((user_id, item_id, "purchase", NOW - HOUR_MS) for user_id in BUYERS for item_id in (NEWEST, "leek")),
]
END = NOW + 7 * DAY_MS
HAD = {event[:2] for event in HISTORY}
NEW_TO = {
    user_id: next(item_id for item_id in CATALOGUE.item_ids if (user_id, item_id) not in HAD)
    for user_id in ("user-0", "user-2")
}


def configured(share: float = 0.1, num_unknown: int = 100) -> Config:
    ranker = RankerConfig(num_negatives=100, num_unknown=num_unknown, unknown_share=share)
    sources = {"home": PlacementConfig(sources=("own", "popular", "words"))}
    return small_config().model_copy(update={"ranker": ranker, "placements": sources})


def collect(*future: Event, share: float = 0.1, num_unknown: int = 100) -> Decisions:
    parts = parts_without_encoder(HISTORY, configured(share, num_unknown))
    return collect_unknown(events_frame([*HISTORY, *future]), parts, NOW, END)


def taken(user_id: str, item_id: str) -> Event:
    return user_id, item_id, "purchase", NOW + HOUR_MS


def of_item(found: Decisions, feature: str) -> float:
    [row] = np.flatnonzero(found.positions == CATALOGUE.position[NEWEST])
    return float(found.matrix[row, names(configured().state).index(feature)])


def test_the_newest_item_has_no_past_and_can_be_taken() -> None:
    found = collect(taken("user-2", NEWEST))
    assert found.users == ["user-2"]
    assert found.labels[found.positions == CATALOGUE.position[NEWEST]] > 0
    parts = parts_without_encoder(HISTORY, configured())
    known = collect_decisions(events_frame([*HISTORY, taken("user-2", NEWEST)]), parts, NOW, END)["new"]
    for feature in ("item_users", "item_112d", "adoption_112d", "ease", "together", "als"):
        assert of_item(found, feature) == 0 != of_item(known, feature), feature
    assert np.isnan(of_item(found, "item_age_days"))


def test_what_nobody_takes_any_more_was_there_to_be_taken() -> None:
    found = collect(taken("user-2", NEW_TO["user-2"]))
    assert found.labels[found.positions == CATALOGUE.position[NEWEST]].tolist() == [0]


def test_with_nothing_unknown_nobody_is_met() -> None:
    assert collect(taken("user-2", NEWEST), share=0.0).users == []


def test_nobody_has_had_what_is_unknown() -> None:
    found = collect(taken("user-0", NEWEST), taken("user-0", NEW_TO["user-0"]))
    assert found.users == ["user-0"]
    assert CATALOGUE.position[NEWEST] not in found.positions
    assert collect(taken("user-0", NEWEST)).users == []  # nothing is left to learn from


def test_at_most_so_many_users_are_met_and_the_same_ones_again() -> None:
    future = [taken(f"user-{i}", NEWEST) for i in (2, 5, 6, 7)]
    assert len(collect(*future).users) == 4
    some = collect(*future, num_unknown=2)
    assert len(some.users) == 2
    assert some.users == collect(*future, num_unknown=2).users
    assert collect(*future, num_unknown=0).users == []


def test_the_newest_are_the_share_that_came_last() -> None:
    history = parts_without_encoder(HISTORY, configured()).tables.history
    assert np.flatnonzero(newest(history, 0.1)).tolist() == [CATALOGUE.position[NEWEST]]
    assert not newest(history, 0.0).any()
    touched = np.flatnonzero(history.first_ms)
    half = newest(history, 0.5)
    assert half.sum() == round(0.5 * len(touched))
    assert history.first_ms[half].min() >= history.first_ms[touched[~half[touched]]].max()


def test_parts_that_know_the_window_are_refused() -> None:
    parts = parts_without_encoder(HISTORY, configured())
    with pytest.raises(LeakageError):
        collect_unknown(events_frame(HISTORY), parts, NOW - DAY_MS, NOW)
