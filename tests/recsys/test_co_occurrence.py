import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.co_occurrence import CoOccurrence, fit_co_occurrence
from recsys.config import StateConfig
from recsys.schema import ITEM_ID
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame

CATALOGUE = Catalogue(items_frame(*({ITEM_ID: item_id} for item_id in "abcd")))
A, B, C, D = range(4)


def baskets(*contents: str, event_type: str = "purchase") -> list[Event]:
    """One basket of one user per string of one-letter items, a second apart, the last just before ``NOW``."""
    return [
        ("u", item_id, event_type, NOW - 1 - 1000 * i)
        for i, content in enumerate(contents)
        for item_id in content
    ]


def fit(events: list[Event], until_ms: int = NOW, num_neighbours: int = 3) -> CoOccurrence:
    return fit_co_occurrence(events_frame(events), CATALOGUE, StateConfig(), until_ms, num_neighbours)


def test_the_strength_is_the_shrunken_cosine_of_the_baskets() -> None:
    found = fit(baskets("ab", "ab", "ab", "ac", "bc", "c"))
    # a is in 4 baskets, b in 4, c in 3; a and b meet in 3, a and c in 1, b and c in 1
    ab = 3 / (np.sqrt(4 * 4) + 10)
    ac = bc = 1 / (np.sqrt(4 * 3) + 10)
    assert found.neighbours.tolist() == [[B, C, -1], [A, C, -1], [A, B, -1], [-1, -1, -1]]
    expected = [[ab, ac, 0], [ab, bc, 0], [ac, bc, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.weights, expected, rtol=1e-6)
    assert found.fitted_until_ms == NOW


def test_a_basket_is_one_user_at_one_time() -> None:
    events: list[Event] = []
    for i in range(3):
        events += [("u", "a", "purchase", NOW - 10 - i), ("v", "b", "purchase", NOW - 10 - i)]
        events += [("u", "b", "purchase", NOW - 100 - i), ("v", "a", "purchase", NOW - 100 - i)]
    assert not fit(events).weights.any()


def test_an_item_counts_once_per_basket_whatever_its_events() -> None:
    once = baskets("ab", "ab", "ab")
    viewed = [(user, item_id, "view", time_ms) for user, item_id, _, time_ms in once]
    assert np.array_equal(fit(once + viewed + once).weights, fit(once).weights)


def test_items_of_fewer_than_three_baskets_have_no_neighbours() -> None:
    assert not fit(baskets("ab", "ab", "a", "a")).weights.any()


def test_types_without_a_positive_weight_and_unknown_items_do_not_count() -> None:
    assert not fit(baskets("ab", "ab", "ab", event_type="impression")).weights.any()
    assert not fit(baskets("ab", "ab", "ab", event_type="dislike")).weights.any()
    assert np.array_equal(fit(baskets("abxy", "abx", "ab")).weights, fit(baskets("ab", "ab", "ab")).weights)


def test_events_at_or_after_the_end_are_not_seen() -> None:
    past = baskets("ab", "ab", "ab")
    future = [("u", item_id, "purchase", NOW + i) for i in range(5) for item_id in "abcd"]
    assert np.array_equal(fit(past + future).weights, fit(past).weights)
    assert np.array_equal(fit(past + future).neighbours, fit(past).neighbours)
    assert not fit(past, until_ms=NOW - 1).weights.any()  # the third basket is not before it
    assert fit(past + future, until_ms=NOW + 1).weights.any()


def test_only_the_strongest_neighbours_are_kept() -> None:
    found = fit(baskets("abc", "abc", "abc", "ab"), num_neighbours=1)
    assert found.neighbours[:, 0].tolist() == [B, A, A, -1]  # c goes as well with a as with b: the first


def test_an_empty_log_gives_no_neighbours() -> None:
    found = fit([])
    assert found.neighbours.tolist() == [[-1] * 3] * 4
    assert found.weights.dtype == np.float32


def test_scores_add_up_over_the_given_items() -> None:
    table = CoOccurrence(
        np.asarray([[1, 2], [0, -1], [0, -1], [-1, -1]], np.int32),
        np.asarray([[0.5, 0.25], [0.5, 0], [0.25, 0], [0, 0]], np.float32),
        NOW,
    )
    targets, scores = table.scores(np.asarray([B, C]), np.asarray([1.0, 2.0]))
    assert targets.tolist() == [A]
    assert scores.tolist() == pytest.approx([1.0])  # 0.5 * 1 + 0.25 * 2
    targets, scores = table.scores(np.asarray([A, D]), np.asarray([2.0, 9.0]))
    assert (targets.tolist(), scores.tolist()) == ([B, C], [1.0, 0.5])


def test_no_items_have_no_scores() -> None:
    targets, scores = fit([]).scores(np.empty(0, np.int64), np.empty(0))
    assert len(targets) == len(scores) == 0
