import numpy as np
import polars as pl
import pytest

from tests.training.baselines.small_log import log_of
from training.baselines.two_stage_candidates import SCORES, candidates
from training.baselines.two_stage_features import (
    as_matrix,
    item_features,
    pair_features,
    user_features,
    with_features,
)

EVENTS = (("a", "x", 35), ("a", "x", 21), ("a", "x", 14), ("a", "y", 14), ("b", "x", 7))


def row(frame: pl.DataFrame, **key: int) -> dict[str, float | None]:
    found = frame.filter(*[pl.col(name) == value for name, value in key.items()])
    assert found.height == 1
    return found.row(0, named=True)


def test_a_pair_is_due_when_its_usual_gap_has_passed() -> None:
    pair = row(pair_features(log_of(*EVENTS)), user=0, item=0)
    assert pair["times"] == 3
    assert pair["age"] == pytest.approx(14)
    assert pair["gap"] == pytest.approx((35 - 14) / 2)
    assert pair["due"] == pytest.approx(14 / 10.5)
    assert pair["recent_due"] == pytest.approx(14 / 7)
    assert pair["frequency_0.7"] == pytest.approx(0.7**5 + 0.7**3 + 0.7**2)


def test_what_was_bought_once_has_no_gap() -> None:
    pair = row(pair_features(log_of(*EVENTS)), user=0, item=1)
    assert pair["gap"] is None
    assert pair["due"] is None


def test_items_count_their_people_and_who_is_new_to_them() -> None:
    item = row(item_features(log_of(*EVENTS)), item=0)
    assert item["item_users"] == 2
    assert item["item_repeat_rate"] == pytest.approx(0.5)
    assert item["item_new_users"] == item["item_newest_users"] == 1
    assert (item["popularity_3"], item["popularity_7"], item["popularity_28"]) == (0, 1, 2)
    assert item["item_trend"] == pytest.approx(2 / 6)


def test_users_have_a_rhythm_and_a_taste_for_the_new() -> None:
    user = row(user_features(log_of(*EVENTS)), user=0)
    assert user["user_visits"] == 3
    assert user["user_gap"] == pytest.approx(10.5)
    assert user["user_new_items"] == 1
    assert user["user_repeat_rate"] == pytest.approx(0.5)
    assert user["user_visit_size"] == pytest.approx(4 / 3)


def test_candidates_are_own_items_and_those_that_any_source_likes_best() -> None:
    log = log_of(*EVENTS, ("c", "z", 1), ("d", "z", 1), ("d", "x", 1))
    found = pl.concat(candidates(log, np.array([0, 2]), 1))
    own = found.filter(pl.col("own") > 0)
    assert own.select("user", "item").rows() == [(0, 0), (0, 1), (2, 2)]
    assert (0, 2) in found.select("user", "item").rows()  # nobody bought more often lately than z and x
    assert own["own_rank"].to_list() == [1, 2, 1]
    assert set(SCORES) < set(found.columns)


def test_a_missing_feature_is_not_a_number() -> None:
    log = log_of(*EVENTS, ("c", "z", 1), ("c", "x", 1))
    table = with_features(log, pl.concat(candidates(log, np.array([0]), 1)))
    matrix = as_matrix(table, "own")
    assert matrix.shape == (table.height, len(table.columns) - 3)
    assert (
        np.isnan(matrix[:, [c for c in table.columns if c not in ("user", "item", "own")].index("age")]).sum()
        == 1
    )
