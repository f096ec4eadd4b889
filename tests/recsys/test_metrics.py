import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import DataError
from recsys.metrics import (
    coverage,
    coverage_interval,
    interval,
    paired_difference,
    per_user,
    recall_at,
    top,
)

ITEMS = [f"i{number}" for number in range(15)]


def lists_of(**items: list[str]) -> pl.DataFrame:
    rows = [(user, item, rank) for user, ranked in items.items() for rank, item in enumerate(ranked, 1)]
    return pl.DataFrame(
        rows, schema={"user_id": pl.String, "item_id": pl.String, "rank": pl.Int64}, orient="row"
    )


def truth_of(**items: list[str]) -> pl.DataFrame:
    rows = [(user, item) for user, wanted in items.items() for item in wanted]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")


def score(lists: pl.DataFrame, truth: pl.DataFrame, k: int = 10) -> dict[str, float]:
    row = per_user(lists, truth, truth["user_id"], k).row(0, named=True)
    return {name: value for name, value in row.items() if name != "user_id"}


def test_metrics_of_one_list_are_those_computed_by_hand() -> None:
    # hits at ranks 2 and 4 of three relevant items
    found = score(lists_of(a=["x", "p", "y", "q"]), truth_of(a=["p", "q", "r"]))
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found == pytest.approx(
        {"ndcg@10": gain / ideal, "recall@10": 2 / 3, "mrr@10": 1 / 2, "hit@10": 1.0}
    )


def test_recall_and_the_ideal_list_are_cut_at_k() -> None:
    found = score(lists_of(a=["p", "x", "q"]), truth_of(a=["p", "q", "r", "s"]), k=2)
    assert found == pytest.approx(
        {"ndcg@2": 1 / (1 + 1 / math.log2(3)), "recall@2": 1 / 2, "mrr@2": 1.0, "hit@2": 1.0}
    )


def test_a_user_without_a_list_scores_zero_and_one_without_truth_is_left_out() -> None:
    truth = truth_of(a=["p"], b=["q"], c=["p"])
    scored = per_user(lists_of(a=["p"], d=["p"]), truth, pl.Series(["a", "b", "d"]))
    assert scored.to_dict(as_series=False) == {
        "user_id": ["a", "b"],
        "ndcg@10": [1.0, 0.0],
        "recall@10": [1.0, 0.0],
        "mrr@10": [1.0, 0.0],
        "hit@10": [1.0, 0.0],
    }


def test_repeated_items_and_pairs_count_once_and_gaps_in_ranks_are_closed() -> None:
    lists = pl.DataFrame({"user_id": ["a"] * 4, "item_id": ["p", "x", "p", "q"], "rank": [9, 2, 5, 7]})
    assert top(lists, 10).rows() == [("a", "x", 1), ("a", "p", 2), ("a", "q", 3)]
    found = score(lists, truth_of(a=["p", "p"]))
    assert found["mrr@10"] == pytest.approx(1 / 2)
    assert found["recall@10"] == 1.0


def test_candidate_recall_counts_users_without_candidates() -> None:
    scored = recall_at(lists_of(a=["p", "x", "q"]), truth_of(a=["p", "q", "r"], b=["p"]), k=2)
    assert scored.rows() == [("a", 1 / 2), ("b", 0.0)]


def test_coverage_is_the_share_of_items_in_anybodys_top() -> None:
    lists = lists_of(a=["p", "q", "r"], b=["q", "p", "s"])
    assert coverage(lists, num_items=8, k=2) == 2 / 8
    covered = coverage_interval(lists, num_items=8, seed=1, k=3)
    assert covered.value == 4 / 8
    assert covered.low <= covered.value <= covered.high
    assert coverage_interval(lists.clear(), num_items=8, seed=1).value == 0.0


def test_interval_of_a_coin_matches_the_normal_approximation() -> None:
    values = pl.DataFrame({"user_id": [f"u{n:04}" for n in range(1000)], "hit@10": [0.0, 1.0] * 500})
    found = interval(values, seed=3)["hit@10"]
    assert found.value == 0.5
    half = 1.96 * math.sqrt(0.25 / 1000)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.004)


def test_intervals_are_reproducible_and_do_not_depend_on_the_order_of_users() -> None:
    values = pl.DataFrame({"user_id": ["a", "b", "c", "d"], "ndcg@10": [0.1, 0.9, 0.4, 0.0]})
    assert interval(values, seed=5) == interval(values.reverse(), seed=5)
    assert interval(values.clear(), seed=5) == {}


def test_a_constant_gain_has_a_paired_difference_without_width() -> None:
    theirs = pl.DataFrame(
        {"user_id": ["a", "b", "c"], "ndcg@10": [0.0, 0.5, 0.25], "hit@10": [0.0, 1.0, 1.0]}
    )
    ours = theirs.select("user_id", pl.col("ndcg@10") + 0.25).reverse()
    found = paired_difference(ours, theirs, seed=2)
    assert list(found) == ["ndcg@10"]
    assert (found["ndcg@10"].value, found["ndcg@10"].low, found["ndcg@10"].high) == (0.25, 0.25, 0.25)


def test_a_paired_difference_refuses_different_users() -> None:
    ours = pl.DataFrame({"user_id": ["a", "b"], "hit@10": [0.0, 1.0]})
    with pytest.raises(ValueError, match="same users"):
        paired_difference(ours, ours.head(1), seed=0)


def test_missing_columns_are_named() -> None:
    truth = truth_of(a=["p"])
    with pytest.raises(DataError, match="rank"):
        per_user(truth, truth, truth["user_id"])
    with pytest.raises(ValueError, match="at least 1"):
        top(lists_of(a=["p"]), 0)


ranked = st.lists(st.sampled_from(ITEMS), unique=True, max_size=15)
wanted = st.sets(st.sampled_from(ITEMS), min_size=1)


@settings(max_examples=40, deadline=None)
@given(ranked=ranked, wanted=wanted)
def test_metrics_lie_between_zero_and_one_and_agree_on_whether_there_is_a_hit(
    ranked: list[str], wanted: set[str]
) -> None:
    found = score(lists_of(a=ranked), truth_of(a=sorted(wanted)))
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in found.values())
    assert len({value > 0 for value in found.values()}) == 1


@settings(max_examples=40, deadline=None)
@given(ranked=ranked, wanted=wanted)
def test_putting_a_relevant_item_first_never_hurts_and_the_perfect_list_scores_one(
    ranked: list[str], wanted: set[str]
) -> None:
    truth = truth_of(a=sorted(wanted))
    best = min(wanted)
    before = score(lists_of(a=ranked), truth)
    after = score(lists_of(a=[best, *(item for item in ranked if item != best)]), truth)
    assert after["ndcg@10"] >= before["ndcg@10"] - 1e-12
    assert after["mrr@10"] == 1.0
    perfect = score(lists_of(a=sorted(wanted)), truth)
    assert list(perfect.values()) == pytest.approx([1.0] * 4)


@settings(max_examples=20, deadline=None)
@given(ranked=ranked, wanted=wanted, seed=st.integers(0, 9))
def test_the_order_of_rows_changes_nothing(ranked: list[str], wanted: set[str], seed: int) -> None:
    lists, truth = lists_of(a=ranked, b=ranked[::-1]), truth_of(a=sorted(wanted), b=sorted(wanted))
    shuffled = lists.sample(fraction=1.0, shuffle=True, seed=seed)
    expected = per_user(lists, truth, truth["user_id"])
    assert per_user(shuffled, truth.reverse(), truth["user_id"].reverse()).equals(expected)
