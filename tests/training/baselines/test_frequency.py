import polars as pl
import pytest

from recsys.errors import DataError
from tests.training.baselines.small_log import NOW, history_of, items_of
from training.baselines import personal_frequency, popular, popular_lists, tune_personal_frequency


def test_popularity_counts_people_within_the_window() -> None:
    history = history_of(
        ("a", "keen", 1),
        ("a", "keen", 2),
        ("a", "keen", 3),
        ("a", "both", 1),
        ("b", "both", 2),
        ("c", "old", 40),
    )
    assert popular(history, NOW) == ["both", "keen"]
    assert popular(history, NOW, days=50) == ["both", "keen", "old"]


def test_what_happens_at_or_after_the_cut_is_not_seen() -> None:
    past = history_of(("a", "x", 1), ("b", "y", 2))
    later = pl.concat([past, history_of(("a", "z", 0), ("b", "z", -1))])
    users = pl.Series(["a", "b"])
    assert popular(later, NOW) == popular(past, NOW)
    assert personal_frequency(later, users, NOW).equals(personal_frequency(past, users, NOW))


def test_a_strong_event_outweighs_weak_ones_and_negative_events_do_not_count() -> None:
    history = pl.concat(
        [
            history_of(("a", "seen", 1), ("a", "seen", 1), ("b", "seen", 1), event_type="view"),
            history_of(("c", "bought", 1)),
            history_of(("a", "disliked", 1), event_type="dislike"),
        ]
    )
    assert popular(history, NOW) == ["bought", "seen"]
    assert popular(history, NOW, weights={"view": 1.0}) == ["seen"]
    assert items_of(personal_frequency(history, pl.Series(["a"]), NOW), "a") == ["seen", "bought"]


def test_own_items_are_ordered_by_decayed_frequency_with_popular_ones_behind() -> None:
    # after 4 weeks at 0.8 a purchase weighs 0.41: two old ones (0.82) lose to one of today (about 1)
    history = history_of(
        ("a", "often", 28), ("a", "often", 28), ("a", "fresh", 0.01), ("b", "hit", 1), ("c", "hit", 1)
    )
    users = pl.Series(["a", "nobody"])
    fast = personal_frequency(history, users, NOW, decay_per_week=0.8)
    slow = personal_frequency(history, users, NOW, decay_per_week=0.99)
    assert items_of(fast, "a") == ["fresh", "often", "hit"]
    assert items_of(slow, "a") == ["often", "fresh", "hit"]
    assert items_of(fast, "nobody") == ["hit", "fresh", "often"]
    assert items_of(personal_frequency(history, users, NOW, decay_per_week=0.8, depth=1), "a") == ["fresh"]


def test_equal_frequencies_are_ordered_by_popularity_then_by_id() -> None:
    history = history_of(("a", "x", 7), ("a", "y", 7), ("a", "z", 7), ("b", "z", 1))
    assert items_of(personal_frequency(history, pl.Series(["a"]), NOW), "a") == ["z", "x", "y"]


def test_novel_lists_hold_nothing_that_the_user_had() -> None:
    history = history_of(("a", "x", 300), ("b", "x", 1), ("b", "y", 1), ("c", "y", 2), ("c", "z", 3))
    users = pl.Series(["a", "c"])
    found = popular_lists(history, users, NOW, novel=True)
    assert items_of(found, "a") == ["y", "z"]
    assert items_of(found, "c") == ["x"]
    assert personal_frequency(history, users, NOW, novel=True).equals(found)


def test_an_empty_history_gives_empty_lists() -> None:
    nothing = history_of()
    assert popular(nothing, NOW) == []
    assert personal_frequency(nothing, pl.Series(["a"]), NOW).is_empty()


def test_tuning_finds_the_decay_and_the_window_that_the_data_was_made_with() -> None:
    # in the validation window people buy again what they bought last, not what they bought most; what others
    # pick up first then was popular in the last week before it, not in the weeks before that
    users = [f"u{number}" for number in range(12)]
    moved_on = [
        event
        for user in users
        for event in [(user, f"{user}-old{n}", 120 + n) for n in range(12) for _ in range(2)]
        + [(user, f"{user}-new{n}", 29 + n / 10) for n in range(10)]
        + [(user, f"{user}-new{n}", 5) for n in range(10)]
    ]
    past_fashion = [(f"f{n}", f"past{item}", 28 + 10) for n in range(30) for item in range(10)]
    fashion = [(f"f{n}", f"now{item}", 28 + 3) for n in range(20) for item in range(10)]
    picked_up = [(user, f"now{item}", 3) for user in users for item in range(10)]
    history = history_of(*moved_on, *past_fashion, *fashion, *picked_up)
    found = tune_personal_frequency(history, NOW)
    assert found.popularity_days == 7
    assert found.decay_per_week == 0.85
    # the test window cannot move the choice
    later = history_of(*((user, f"past{item}", -1) for user in users for item in range(10)))
    assert tune_personal_frequency(pl.concat([history, later]), NOW) == found


def test_tuning_without_a_past_says_so() -> None:
    with pytest.raises(DataError, match="tuning needs events"):
        tune_personal_frequency(history_of(("a", "x", 1)), NOW)


def test_a_history_without_times_is_refused() -> None:
    with pytest.raises(DataError, match="effective_time"):
        popular(history_of(("a", "x", 1)).drop("effective_time"), NOW)
