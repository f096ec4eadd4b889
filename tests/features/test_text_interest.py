import math

import pytest

from features import text_interest
from recsys.schema import DAY_MS
from tests.features.small_log import APPLE, BREAD, CUP, DATE, ITEM_IDS, online_side
from tests.recsys.small_catalogue import NOW


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_after_one_purchase_the_interest_is_that_item() -> None:
    values = online_side(text_interest, [("ann", APPLE, "purchase", NOW - DAY_MS)])
    assert values[APPLE]["interest"] == pytest.approx(sigmoid(2 * 1 - 1))
    assert values[BREAD]["interest"] == pytest.approx(sigmoid(-1))
    assert values[APPLE]["recent_similarity"] == 1
    assert values[BREAD]["recent_similarity"] == 0


def test_the_interest_is_standardised_within_the_list() -> None:
    values = online_side(text_interest, [("ann", APPLE, "purchase", NOW - DAY_MS)])
    mean, spread = 0.2, 0.4
    assert values[APPLE]["interest_z"] == pytest.approx((1 - mean) / spread)
    assert values[BREAD]["interest_z"] == pytest.approx(-mean / spread)


def test_two_items_of_one_moment_share_the_interest() -> None:
    events = [("ann", item_id, "purchase", NOW - DAY_MS) for item_id in (APPLE, DATE)]
    values = online_side(text_interest, events)
    assert values[APPLE]["interest"] == pytest.approx(sigmoid(2 * 2**-0.5 - 1))
    assert values[DATE]["interest"] == values[APPLE]["interest"]
    assert values[DATE]["recent_similarity"] == 1


def test_only_the_recent_history_is_read() -> None:
    events = [("ann", item_id, "purchase", NOW - days * DAY_MS) for days, item_id in enumerate(ITEM_IDS, 1)]
    values = online_side(text_interest, events)
    assert [values[item_id]["recent_similarity"] for item_id in ITEM_IDS] == [1, 1, 1, 0, 0]


def test_somebody_unknown_is_interested_in_nothing_in_particular() -> None:
    values = online_side(text_interest, [])
    for row in values.values():
        assert row["interest"] == pytest.approx(sigmoid(-1))
        assert row["interest_z"] == 0
        assert math.isnan(row["recent_similarity"])


def test_the_last_item_has_a_similarity_of_its_own() -> None:
    events = [("ann", APPLE, "purchase", NOW - DAY_MS), ("ann", BREAD, "purchase", NOW - 2 * DAY_MS)]
    values = online_side(text_interest, events)
    assert [values[item_id]["last_similarity"] for item_id in (APPLE, BREAD, DATE)] == [1, 0, 0]
    assert [values[item_id]["recent_similarity"] for item_id in (APPLE, BREAD, DATE)] == [1, 1, 0]


def test_the_greater_interest_is_above() -> None:
    events = [("ann", APPLE, "purchase", NOW - DAY_MS), ("ann", BREAD, "purchase", NOW - 9 * DAY_MS)]
    values = online_side(text_interest, events)
    assert [values[item_id]["interest_above"] for item_id in (APPLE, BREAD, DATE)] == [0, 0.2, 0.4]


def test_pretrained_words_know_what_the_tuned_ones_do_not() -> None:
    events = [("ann", APPLE, "purchase", NOW - DAY_MS), ("ann", BREAD, "purchase", NOW - DAY_MS)]
    values = online_side(text_interest, events)
    assert values[DATE]["recent_similarity"] == 0
    assert [values[item_id]["words_mean"] for item_id in (APPLE, BREAD, CUP, DATE)] == [0.5, 0.5, 0, 0.5]
    assert [values[item_id]["words_greatest"] for item_id in (APPLE, BREAD, CUP, DATE)] == [1, 1, 0, 1]
    for name in ("words_mean_z", "words_greatest_z"):  # three of five alike, two without: a mean of 3/5
        assert values[DATE][name] == pytest.approx(0.4 / math.sqrt(0.24))
        assert values[CUP][name] == pytest.approx(-0.6 / math.sqrt(0.24))


def test_nobodys_words_have_no_similarity() -> None:
    for row in online_side(text_interest, []).values():
        names = ("words_mean", "words_mean_z", "words_greatest", "words_greatest_z", "last_similarity")
        assert all(math.isnan(row[name]) for name in names)
        assert row["interest_above"] == 0


def test_the_words_of_the_last_items_count_apart_from_the_whole_history() -> None:
    events = [("ann", BREAD, "purchase", NOW - DAY_MS), ("ann", APPLE, "purchase", NOW - 2 * DAY_MS)]
    values = online_side(text_interest, events)  # a date reads like an apple
    assert [values[item_id]["words_last"] for item_id in (BREAD, APPLE, DATE)] == [1, 0, 0]
    assert [values[item_id]["words_lately"] for item_id in (BREAD, APPLE, DATE)] == [0.5, 0.5, 0.5]
    assert values[BREAD]["words_last_z"] == pytest.approx(2)
    assert min(values[item_id]["interest_gap"] for item_id in ITEM_IDS) == 0
