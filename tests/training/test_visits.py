import numpy as np
import pytest

from features.registry import names
from recsys.config import Config, PlacementConfig, RankerConfig
from recsys.errors import LeakageError
from recsys.moment import Parts
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
from training.decisions import Decisions
from training.visits import collect_visits

CATALOGUE = greengrocer()
HISTORY = shopping(CATALOGUE, num_users=4)
END = NOW + 7 * DAY_MS
FIRST, SECOND, THIRD = CATALOGUE.item_ids[:3]


def configured(num_visits: int = 100) -> Config:
    return small_config().model_copy(
        update={
            "ranker": RankerConfig(num_negatives=100, num_visits=num_visits),
            "placements": {"home": PlacementConfig(sources=("own", "popular"))},
        }
    )


def parts() -> Parts:
    return parts_without_encoder(HISTORY, configured())


def collect(future: list[Event], num_visits: int = 100, orders: str = "all") -> Decisions:
    given = parts_without_encoder(HISTORY, configured(num_visits))
    return collect_visits(events_frame([*HISTORY, *future]), given, NOW, END)[orders]


def taken(user_id: str, item_id: str, hours: int) -> Event:
    return user_id, item_id, "purchase", NOW + hours * HOUR_MS


def labelled(found: Decisions) -> set[str]:
    return {CATALOGUE.item_ids[p] for p in found.positions[found.labels > 0].tolist()}


def test_somebody_new_is_met_after_the_first_thing_taken() -> None:
    found = collect([taken("stranger", FIRST, 1), taken("stranger", SECOND, 2)])
    assert found.users == ["stranger"]
    assert labelled(found) == {SECOND}


def test_labels_reach_to_the_windows_end() -> None:
    future = [taken("stranger", FIRST, 1), taken("stranger", SECOND, 2), taken("stranger", THIRD, 9 * 24)]
    assert labelled(collect(future)) == {SECOND}


def test_who_comes_once_is_not_met() -> None:
    found = collect([taken("stranger", FIRST, 1), taken("user-0", SECOND, 1)])
    assert (found.users, len(found.matrix)) == ([], 0)
    assert found.matrix.shape[1] == len(names(configured().state))


def test_what_was_taken_before_the_moment_is_not_new() -> None:
    future = [taken("stranger", FIRST, 1), taken("stranger", FIRST, 2)]
    assert labelled(collect(future)) == {FIRST}
    assert collect(future, orders="new").users == []


def test_features_are_those_of_the_moment() -> None:
    found = collect([taken("stranger", FIRST, 1), taken("stranger", SECOND, 2)])
    own = names(configured().state).index("user_item_count")
    count = dict(zip(found.positions.tolist(), found.matrix[:, own].tolist(), strict=True))
    assert count.pop(CATALOGUE.position[FIRST]) == 1
    assert set(count.values()) == {0}


def test_what_follows_changes_no_feature() -> None:
    future = [taken("stranger", FIRST, 1), taken("stranger", SECOND, 2)]
    few, many = collect(future), collect([*future, taken("user-0", THIRD, 3), taken("user-1", THIRD, 4)])
    np.testing.assert_array_equal(few.matrix, many.matrix)


def test_of_many_users_so_many_are_drawn_the_same_ones_again() -> None:
    future = [taken(f"s-{i}", item_id, h) for i in range(9) for h, item_id in ((1, FIRST), (2, SECOND))]
    assert len(collect(future).users) == 9
    first, second = collect(future, 4), collect(future, 4)
    assert len(first.users) == 4
    assert first.users == second.users


def test_parts_that_saw_the_window_are_refused() -> None:
    with pytest.raises(LeakageError, match="fit it earlier"):
        collect_visits(events_frame(HISTORY), parts(), NOW - 1, END)
