"""Tests of the decisions of one label window."""

import numpy as np
import pytest

from features.registry import names
from recsys.errors import LeakageError
from tests.recsys.small_catalogue import (
    NOW,
    Event,
    events_frame,
)
from tests.training.small_window import (
    CATALOGUE,
    END,
    HISTORY,
    bought,
    collect,
    configured,
    items_of,
    num_lost,
    parts_for,
)
from training.decision_table import collect_decisions


def test_candidates_that_the_user_chose_are_labelled_by_grade() -> None:
    first, second = items_of("user-0")[:2]
    found = collect([bought("user-0", first), bought("user-0", second, "view")], configured())
    labels = dict(zip(items_of("user-0"), found.labels.tolist(), strict=True))
    assert found.groups.tolist() == [len(items_of("user-0"))]
    assert labels.pop(first) == 4
    assert labels.pop(second) == 1
    assert set(labels.values()) == {0}
    assert found.matrix.shape == (len(found.labels), len(names(configured().state)))
    assert found.matrix.dtype == np.float32


def test_a_query_of_which_no_source_found_anything_teaches_nothing() -> None:
    future = [bought("user-0", "gone"), bought("user-1", items_of("user-1")[0])]
    found = collect(future, configured())
    assert found.users == ["user-1"]
    assert found.groups.tolist() == [len(items_of("user-1"))]
    assert num_lost(future, configured()) == 1


def test_queries_are_users_who_did_something() -> None:
    liked, disliked = items_of("user-2")[0], items_of("user-1")[0]
    found = collect([bought("user-2", liked), bought("user-1", disliked, "dislike")], configured())
    assert found.users == ["user-2"]
    assert found.groups.tolist() == [len(items_of("user-2"))]


def test_somebody_without_history_is_a_decision_too() -> None:
    sold = {item_id for _, item_id, _, _ in HISTORY}
    future = [bought("stranger", min(sold))]
    for orders in ("all", "new"):
        found = collect(future, configured(100, ("own", "popular")), orders)
        assert found.users == ["stranger"]
        assert found.groups.tolist() == [len(sold)]
        assert found.labels.tolist() == [4] + [0] * (len(sold) - 1)


@pytest.mark.parametrize("orders", ["all", "new"])
@pytest.mark.parametrize("future", [[], [bought("stranger", "gone")]])
def test_without_queries_there_are_no_decisions(future: list[Event], orders: str) -> None:
    found = collect(future, configured(), orders)
    assert (len(found.matrix), len(found.labels), len(found.groups)) == (0, 0, 0)
    assert num_lost(future, configured()) == len(future)
    assert found.matrix.shape[1] == len(names(configured().state))


def test_decisions_among_new_items_are_of_users_who_took_something_new() -> None:
    own = items_of("user-0")
    popular = {item_id for _, item_id, _, _ in HISTORY}
    new = sorted(popular - set(own))
    future = [
        bought("user-0", own[0]),
        bought("user-0", new[0], "view"),
        bought("user-1", items_of("user-1")[0]),
    ]
    config = configured(100, ("own", "popular"))
    every, among_new = (collect(future, config, orders) for orders in ("all", "new"))
    assert (every.users, among_new.users) == (["user-0", "user-1"], ["user-0"])
    assert every.groups.tolist() == [len(popular)] * 2
    assert among_new.groups.tolist() == [len(new)]
    assert among_new.labels.tolist() == [1] + [0] * (len(new) - 1)
    assert among_new.positions.tolist() == CATALOGUE.positions(new).tolist()
    assert every.labels[: len(popular)].tolist().count(4) == 1
    first = {row.tobytes() for row in every.matrix[: len(popular)]}
    assert {row.tobytes() for row in among_new.matrix} <= first  # their place is that among all candidates
    assert num_lost(future, config) == 0


def test_what_happens_in_the_window_changes_no_feature() -> None:
    item_id = items_of("user-0")[0]
    few = collect([bought("user-0", item_id)], configured())
    many = collect(
        [bought("user-0", item_id), *(("user-0", other, "view", NOW) for other in CATALOGUE.item_ids)],
        configured(),
    )
    np.testing.assert_array_equal(few.matrix, many.matrix)


def test_parts_that_saw_the_window_are_refused() -> None:
    with pytest.raises(LeakageError, match="fit it earlier"):
        collect_decisions(
            events_frame([*HISTORY, bought("user-0", "leek")]), parts_for(configured()), NOW - 1, END
        )
