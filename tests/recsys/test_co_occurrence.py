from collections.abc import Callable

import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.co_occurrence import fit_co_occurrence, fit_following
from recsys.config import StateConfig
from recsys.neighbours import Neighbours
from recsys.schema import ITEM_ID
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame

CATALOGUE = Catalogue(items_frame(*({ITEM_ID: item_id} for item_id in "abcd")))
A, B, C, D = range(4)

Fit = Callable[..., Neighbours]
both = pytest.mark.parametrize("fit_table", [fit_co_occurrence, fit_following])


def baskets(*contents: str, user_id: str = "u", event_type: str = "purchase") -> list[Event]:
    """One basket of one user per string of one-letter items, a second apart, the last just before ``NOW``."""
    return [
        (user_id, item_id, event_type, NOW - 1 - 1000 * i)
        for i, content in enumerate(reversed(contents))
        for item_id in content
    ]


def strengths(table: Neighbours) -> dict[str, float]:
    """By two letters: who speaks, for whom."""
    sources = np.repeat(np.arange(len(CATALOGUE)), np.diff(table.starts))
    rows = zip(sources.tolist(), table.targets.tolist(), table.weights.tolist(), strict=True)
    return {"abcd"[source] + "abcd"[target]: weight for source, target, weight in rows}


def fit(
    events: list[Event], until_ms: int = NOW, num_neighbours: int = 3, fit_table: Fit = fit_co_occurrence
) -> dict[str, float]:
    found = fit_table(events_frame(events), CATALOGUE, StateConfig(), until_ms, num_neighbours)
    assert found.fitted_until_ms == until_ms
    return strengths(found)


def follow(*users: tuple[str, ...]) -> dict[str, float]:
    """What follows what, of users with these baskets, in order of time."""
    events = [event for i, steps in enumerate(users) for event in baskets(*steps, user_id=f"u{i}")]
    return fit(events, fit_table=fit_following)


def test_the_strength_is_the_shrunken_cosine_of_the_baskets() -> None:
    found = fit(baskets("ab", "ab", "ab", "ac", "bc", "c"))
    # a is in 4 baskets, b in 4, c in 3; a and b meet in 3, a and c in 1, b and c in 1
    ab = 3 / (np.sqrt(4 * 4) + 10)
    ac = bc = 1 / (np.sqrt(4 * 3) + 10)
    assert found == pytest.approx({"ab": ab, "ac": ac, "ba": ab, "bc": bc, "ca": ac, "cb": bc})


def test_a_basket_is_one_user_at_one_time() -> None:
    events: list[Event] = []
    for i in range(3):
        events += [("u", "a", "purchase", NOW - 10 - i), ("v", "b", "purchase", NOW - 10 - i)]
        events += [("u", "b", "purchase", NOW - 100 - i), ("v", "a", "purchase", NOW - 100 - i)]
    assert fit(events) == {}


def test_items_of_fewer_than_three_baskets_have_no_neighbours() -> None:
    assert fit(baskets("ab", "ab", "a", "a")) == {}


def test_only_the_strongest_sources_of_an_item_are_kept() -> None:
    found = fit(baskets("abc", "abc", "abc", "ab"), num_neighbours=1)
    assert found.keys() == {"ba", "ab", "ac"}  # c goes as well with a as with b: the first


def test_what_comes_next_follows_and_what_came_before_does_not() -> None:
    # one pair: a before (one basket), b after with 1; the same for b and c; a, c at two steps with 0.7
    # after sums: b 1, c 1 + 0.7; before sums: one basket each
    found = follow(("a", "b", "c"))
    assert found == pytest.approx(
        {
            "ab": 1 / (np.sqrt(1 * 1) + 1),
            "bc": 1 / (np.sqrt(1 * 1.7) + 1),
            "ac": 0.7 / (np.sqrt(1 * 1.7) + 1),
        }
    )


def test_three_steps_later_is_the_last_that_counts() -> None:
    found = follow(("a", "b", "c", "d", "a"))
    assert found["ad"] == pytest.approx(0.49 / (np.sqrt(2 * (1 + 0.7 + 0.49)) + 1))  # a is in two baskets
    assert "aa" not in found
    assert found["ba"] == pytest.approx(0.49 / (np.sqrt(1 * (1 + 0.7 + 0.49)) + 1))
    assert "da" not in follow(("d", "b", "b", "b", "a"))  # four steps


def test_a_large_basket_says_less_of_each_of_its_items() -> None:
    found = follow(("a", "bcd"))
    each = 1 / np.sqrt(3)
    assert found == pytest.approx({f"a{item}": each / (np.sqrt(each) + 1) for item in "bcd"})


def test_users_add_up_and_their_steps_do_not_mix() -> None:
    found = follow(("a", "b"), ("a", "b"), ("c",), ("d",))
    assert found == pytest.approx({"ab": 2 / (np.sqrt(2 * 2) + 1)})


def test_a_user_need_not_come_back() -> None:
    assert follow(("abcd",), ("ab",)) == {}


@both
def test_an_item_counts_once_per_basket_whatever_its_events(fit_table: Fit) -> None:
    once = baskets("ab", "ab", "ab")
    viewed = [(user, item_id, "view", time_ms) for user, item_id, _, time_ms in once]
    assert fit(once + viewed + once, fit_table=fit_table) == fit(once, fit_table=fit_table) != {}


@both
def test_types_without_a_positive_weight_and_unknown_items_do_not_count(fit_table: Fit) -> None:
    for event_type in ("impression", "dislike"):
        assert fit(baskets("ab", "ab", "ab", event_type=event_type), fit_table=fit_table) == {}
    plain = fit(baskets("ab", "ab", "ab"), fit_table=fit_table)
    assert fit(baskets("abxy", "abx", "ab"), fit_table=fit_table) == plain


@both
def test_events_at_or_after_the_end_are_not_seen(fit_table: Fit) -> None:
    past = baskets("ab", "ab", "ab")
    future = [("u", item_id, "purchase", NOW + i) for i in range(5) for item_id in "abcd"]
    plain = fit(past, fit_table=fit_table)
    assert fit(past + future, fit_table=fit_table) == plain
    assert fit(past, until_ms=NOW - 1, fit_table=fit_table) != plain  # the third basket is not before it
    assert fit(past + future, until_ms=NOW + 1, fit_table=fit_table) != plain


@both
def test_an_empty_log_gives_no_neighbours(fit_table: Fit) -> None:
    assert fit([], fit_table=fit_table) == {}
