"""Candidates from the other baselines, ranked by LightGBM on behaviour alone, without any text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from jaxtyping import Int64
from scipy import sparse

from recsys.errors import DataError
from recsys.lightgbm_alone import lightgbm
from recsys.progress import progress
from recsys.schema import DAY_MS
from training.baselines.baseline import ScoredLists, Scores, beyond_core
from training.baselines.events import since, visible, weighted
from training.baselines.interactions import Interactions, dense
from training.baselines.two_stage_candidates import OWN, candidates
from training.baselines.two_stage_features import ITEM, USER, as_matrix, with_features

_LABEL = "label"
_MIN_WINDOWS = 2


@dataclass(frozen=True)
class TwoStageLightgbm:
    """LambdaMART over the user's own items, item neighbours, EASE and recent popularity.

    It learns from label windows before the log's moment: what could be known at a window's start, and what
    was then taken within it. Pairs that are new to the user get a model of their own, which orders ``novel``
    lists.

    Source: Burges, "From RankNet to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82, as in LightGBM.
    """

    window_days: int = 28
    """Length of a label window in days."""
    num_windows: int = 4
    """Label windows, as far as the log reaches back, >= 2."""
    num_candidates: int = 100
    """Items per source, >= 1; own items are all taken."""
    num_negatives: int = 60
    """Candidates without a label that are kept per user and window, drawn at random."""
    num_new_negatives: int = 300
    """The same among pairs that are new to the user, of which few are taken."""
    num_trees: int = 150
    num_leaves: int = 31
    learning_rate: float = 0.06
    seed: int = 0

    def fit(self, log: Interactions) -> "TwoStageLists":
        """Train both models.

        Raises:
            DataError: Fewer than two label windows hold anything to learn from.
        """
        windows = [self._window(log, number) for number in range(self.num_windows)]
        every, novel = ([window[kind] for window in windows if window[kind].height] for kind in (0, 1))
        if len(novel) < _MIN_WINDOWS:
            raise DataError(
                f"the two-stage baseline learns from {_MIN_WINDOWS} or more label windows of "
                f"{self.window_days} days in which users take what they had and what is new to them, got "
                f"{len(novel)}; ingest a longer log, or evaluate against the other baselines"
            )
        return TwoStageLists(
            ScoredLists(log, partial(self._scores, log, self._boost(every))),
            ScoredLists(log, partial(self._scores, log, self._boost(novel))),
        )

    def _window(self, log: Interactions, number: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What to learn from, ``number`` label windows back in time: all pairs, and the new ones alone."""
        end_ms = log.as_of_ms - number * self.window_days * DAY_MS
        then = log.earlier(end_ms - self.window_days * DAY_MS, keep=False)
        return self._labelled(then, _taken(log, then, end_ms))

    def _labelled(self, then: Interactions, taken: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        if taken.is_empty():
            return pl.DataFrame(), pl.DataFrame()
        users = taken[USER].unique().sort().to_numpy()
        random = np.random.default_rng((self.seed, then.as_of_ms))
        every, novel = [pl.DataFrame()], [pl.DataFrame()]
        for block in candidates(then, users, self.num_candidates):
            labels = block.join(taken, on=[USER, ITEM], how="left", maintain_order="left")
            rows = labels.with_columns(
                pl.col(_LABEL).fill_null(0), random=pl.Series(random.random(block.height))
            )
            new = rows.filter(pl.col(OWN) == 0)
            every.append(_to_learn_from(then, rows, self.num_negatives))
            novel.append(_to_learn_from(then, new, self.num_new_negatives))
        return pl.concat(every, how="diagonal"), pl.concat(novel, how="diagonal")

    def _boost(self, windows: Sequence[pl.DataFrame]) -> lightgbm.Booster:
        matrix = np.concatenate([as_matrix(window, _LABEL) for window in windows])
        labels = np.concatenate([window[_LABEL].to_numpy() for window in windows])
        groups = np.concatenate([window[USER].rle().struct.field("len").to_numpy() for window in windows])
        parameters = {
            "objective": "lambdarank",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": max(1, min(100, len(labels) // 20)),
            "feature_fraction": 0.7,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        dataset = lightgbm.Dataset(matrix, labels, group=groups)
        with progress("boosting the two-stage baseline", self.num_trees) as advance:
            return lightgbm.train(parameters, dataset, self.num_trees, callbacks=[lambda _: advance(1)])

    def _scores(
        self, log: Interactions, booster: lightgbm.Booster, rows: Int64[np.ndarray, " users"]
    ) -> Scores:
        """Margins, as powers of e because only scores above 0 count."""
        table = with_features(log, pl.concat(candidates(log, rows, self.num_candidates)))
        scores = np.exp(np.asarray(booster.predict(as_matrix(table)), dtype=np.float32))
        found = (scores, (np.searchsorted(rows, table[USER].to_numpy()), table[ITEM].to_numpy()))
        matrix = sparse.csr_array(found, shape=(len(rows), len(log.items)))
        return Scores(dense(matrix[:, log.core]), beyond_core(log, matrix))


@dataclass(frozen=True, eq=False)
class TwoStageLists:
    """Lists of one model for everything, and of another for what is new to the user."""

    every: ScoredLists
    novel: ScoredLists

    def lists(self, users: pl.Series, depth: int = 10, *, novel: bool = False) -> pl.DataFrame:
        """See ``training.baselines.baseline.Fitted``."""
        chosen = self.novel if novel else self.every
        return chosen.lists(users, depth, novel=novel)


def _to_learn_from(then: Interactions, rows: pl.DataFrame, num_negatives: int) -> pl.DataFrame:
    """Users with any label: all their labelled rows and some of the others, with features."""
    place = pl.col("random").rank("ordinal").over(USER, _LABEL)
    chosen = rows.filter(pl.col(_LABEL).max().over(USER) > 0, (pl.col(_LABEL) > 0) | (place <= num_negatives))
    return with_features(then, chosen.drop("random"))


def _taken(log: Interactions, then: Interactions, end_ms: int) -> pl.DataFrame:
    """``user``, ``item`` and a label of 1: what was taken from ``then`` on and before ``end_ms``."""
    events = since(visible(log.events, end_ms), then.as_of_ms)
    pairs = then.numbered(weighted(events, log.weights)).select(USER, ITEM).unique()
    return pairs.with_columns(pl.lit(1, pl.Int64).alias(_LABEL))
