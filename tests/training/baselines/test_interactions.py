import numpy as np
import pytest

from recsys.errors import DataError
from recsys.schema import DAY_MS
from tests.training.baselines.small_log import NOW, history_of, log_of
from training.baselines.interactions import Interactions


def test_users_and_items_are_numbered_in_the_order_of_their_ids() -> None:
    log = log_of(("b", "y", 1), ("a", "z", 2), ("a", "x", 3))
    assert log.users == ["a", "b"]
    assert log.items == ["x", "y", "z"]
    assert log.rows_of(["b", "nobody", "a"]).tolist() == [1, -1, 0]


def test_frequencies_decay_with_every_week_and_add_up() -> None:
    log = log_of(("a", "x", 7), ("a", "x", 14), ("a", "y", 0.0001), ("b", "x", 7))
    np.testing.assert_allclose(log.frequency(0.5).toarray(), [[0.75, 1], [0.5, 0]], rtol=1e-4)
    np.testing.assert_allclose(log.frequency(1.0).toarray(), [[2, 1], [1, 0]])
    np.testing.assert_allclose(log.core_frequency(None).toarray(), [[1, 1], [1, 0]])


def test_disliked_items_count_as_seen_and_for_nothing_else() -> None:
    liked = history_of(("a", "x", 1))
    log = Interactions.of(liked.vstack(history_of(("a", "y", 1), event_type="dislike")), NOW)
    assert log.seen.toarray().tolist() == [[1, 1]]
    assert log.frequency(1.0).toarray().tolist() == [[1, 0]]
    assert [log.items[item] for item in log.core] == ["x"]


def test_the_core_holds_the_items_with_most_users_ties_by_id() -> None:
    history = history_of(("a", "z", 1), ("b", "z", 1), ("a", "y", 1), ("a", "x", 1), ("a", "x", 2))
    log = Interactions.of(history, NOW, max_core_items=2)
    assert [log.items[item] for item in log.core] == ["x", "z"]


def test_popularity_counts_people_within_the_window() -> None:
    log = log_of(("a", "x", 1), ("a", "x", 2), ("b", "x", 3), ("a", "y", 20))
    assert log.popularity(7).tolist() == [2, 0]
    assert log.popularity(28).tolist() == [2, 1]


def test_an_earlier_log_sees_less_and_is_kept_unless_told_otherwise() -> None:
    log = log_of(("a", "x", 10), ("b", "y", 1))
    passing = log.earlier(NOW - 5 * DAY_MS, keep=False)
    kept = log.earlier(NOW - 5 * DAY_MS)
    assert kept.items == passing.items == ["x"]
    assert kept is not passing
    assert kept is log.earlier(NOW - 5 * DAY_MS, keep=False)


def test_what_is_made_under_one_key_is_made_once() -> None:
    log, numbers = log_of(("a", "x", 1)), iter(range(9))
    assert [log.made("key", lambda: next(numbers)) for _ in range(3)] == [0, 0, 0]
    assert log.made("other key", lambda: next(numbers)) == 1


def test_a_history_without_users_is_refused() -> None:
    with pytest.raises(DataError, match="user_id"):
        Interactions.of(history_of(("a", "x", 1)).drop("user_id"), NOW)
