from dataclasses import dataclass, field

import polars as pl
import pytest

from recsys.errors import DataError
from recsys.schema import ITEM_ID, RANK, USER_ID
from tests.training.baselines.small_log import log_of
from training.baselines.interactions import Interactions
from training.baselines.tuning import Search, Validation, tune


@dataclass(frozen=True)
class Guess:
    """A baseline that recommends one item, and remembers who asked."""

    item: str = "x"
    flavour: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list, compare=False)

    def fit(self, log: Interactions) -> "Guess":
        assert "late" not in log.items
        return self

    def lists(self, users: pl.Series, depth: int = 10, *, novel: bool = False) -> pl.DataFrame:
        assert depth == 10
        self.asked.append((f"{self.item}{' novel' * novel}", self.flavour))
        return pl.DataFrame({USER_ID: users}).with_columns(
            pl.lit(self.item).alias(ITEM_ID), pl.lit(1).alias(RANK)
        )


LOG = (("a", "x", 20), ("b", "y", 20), ("a", "x", 2), ("b", "x", 2), ("a", "late", 1), ("b", "y", 1))


def test_the_window_is_split_into_what_was_known_and_what_came() -> None:
    found = Validation.of(log_of(*LOG), 7)
    assert found.before.items == ["x", "y"]
    assert found.truth.sort("user_id", "item_id").rows() == [
        ("a", "late"),
        ("a", "x"),
        ("b", "x"),
        ("b", "y"),
    ]
    assert found.new_truth.sort("user_id", "item_id").rows() == [("a", "late"), ("b", "x")]


def test_each_step_starts_from_the_best_of_the_last_one() -> None:
    start = Guess()
    search = Search(start, [[{"item": "y"}, {"item": "x"}], [{"flavour": 0}, {"flavour": 1}]])
    validation = Validation.of(log_of(*LOG), 7)
    moved: list[int] = []
    best = tune(search, validation, novel=False, advance=moved.append)
    assert best == Guess("x", 0)  # both flavours are as good: the earlier one stays
    assert start.asked == [("y", 0), ("x", 0), ("x", 1)]
    assert sum(moved) == search.num_trials == 4


def test_novel_lists_are_scored_by_what_is_new() -> None:
    search = Search(Guess(), [[{"item": "x"}, {"item": "late"}, {"item": "y"}]])
    validation = Validation.of(log_of(*LOG), 7)
    assert validation.ndcg(Guess("x"), novel=True) == pytest.approx(0.5)
    assert tune(search, validation, novel=True) == Guess("x")


def test_a_log_that_is_too_short_to_tune_on_is_refused() -> None:
    with pytest.raises(DataError, match="tuning needs events"):
        Validation.of(log_of(("a", "x", 1)), 7)
