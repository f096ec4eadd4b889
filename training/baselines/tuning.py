"""Chooses a baseline's settings on the window before the test window, one kind of setting after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from recsys.errors import DataError
from recsys.schema import DAY_MS, ITEM_ID, USER_ID
from training.baselines.baseline import Baseline
from training.baselines.events import since, weighted
from training.baselines.interactions import Interactions
from training.baselines.lists import mean_ndcg

Change = Mapping[str, Any]
"""Settings by name that a step of a search replaces."""
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Search:
    """What tuning tries: each step its changes to the best so far, so that steps do not multiply."""

    start: Baseline
    steps: Sequence[Sequence[Change]] = field(default=())

    @property
    def num_trials(self) -> int:
        """Most settings that are tried; 0 where there is nothing to choose."""
        return sum(map(len, self.steps))


@dataclass(frozen=True, eq=False)
class Validation:
    """The window before the test window: what was known at its start, and what was then chosen."""

    before: Interactions
    truth: pl.DataFrame
    """``user_id``, ``item_id``."""
    new_truth: pl.DataFrame
    """Those pairs that are new to the user."""
    users: pl.Series
    """Who has a truth."""

    @classmethod
    def of(cls, log: Interactions, days: int) -> "Validation":
        """The last ``days`` days of a log.

        Raises:
            DataError: There are no events in the window, or none before it.
        """
        before = log.earlier(log.as_of_ms - days * DAY_MS)
        truth = weighted(since(log.events, before.as_of_ms), log.weights).select(USER_ID, ITEM_ID).unique()
        if truth.is_empty() or before.events.is_empty():
            raise DataError(
                f"tuning needs events in the {days} days before the cut and before those, got {truth.height} "
                f"and {before.events.height}; evaluate on a shorter test window or ingest a longer log"
            )
        new = truth.join(before.events, on=[USER_ID, ITEM_ID], how="anti")
        return cls(before, truth, new, truth[USER_ID].unique().sort())

    def ndcg(self, baseline: Baseline, *, novel: bool) -> float:
        """NDCG@10 of a baseline that is fitted on what was known, mean over users."""
        lists = baseline.fit(self.before).lists(self.users, novel=novel)
        return mean_ndcg(lists, self.new_truth if novel else self.truth, self.users)


def tune(
    search: Search, validation: Validation, *, novel: bool, advance: Advance = lambda _: None
) -> Baseline:
    """The settings of the highest NDCG@10; ties go to what was tried first.

    Args:
        search: Where to begin and what to try.
        validation: Where to score.
        novel: Whether lists and truth are of what is new to the user.
        advance: Called with 1 after every trial.
    """
    best, scores = search.start, dict[Baseline, float]()
    for step in search.steps:
        for trial in [replace(best, **change) for change in step]:
            if trial not in scores:
                scores[trial] = validation.ndcg(trial, novel=novel)
            advance(1)
        best = max(scores, key=scores.__getitem__)
    return best
