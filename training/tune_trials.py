"""What ``recsys tune`` tries and how a trial is scored: on the last label window, and on nothing later.

Only settings that a trial can be cheap for are searched: encoder settings cost an encoder, ranker settings a
few boosted trees on decisions that were collected once.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import optuna
import polars as pl

from features.log import OfflineLog
from features.moments import offline_moments
from recsys.bundle import text_vectors
from recsys.config import Config
from recsys.errors import DataError
from recsys.index import VectorIndex, quantise
from recsys.metrics import recall_at
from recsys.moment import Moment, Parts
from recsys.schema import AS_OF, ITEM_ID, QUERY_ID, USER_ID
from training.decisions import Decisions
from training.encoder_fit import fit_encoder
from training.labels import label_table
from training.ranker_fit import search_num_trees
from training.recipe import TrainingRun
from training.tune_spaces import suggested
from training.window_lists import RECALL_DEPTH, lists_frame

_REPORT_EVERY = 10
"""Boosting rounds between two looks at whether a trial is worth going on with."""


class RankerTrials:
    """Scores ranker settings by NDCG@10 on the last window, as the mean over the rankers there are."""

    def __init__(self, config: Config, windows: list[dict[str, Decisions]]) -> None:
        """Take the decisions of all label windows, oldest first; every trial learns from these.

        Raises:
            DataError: There is nothing to learn from.
        """
        self._config = config
        pairs = {
            name: (reduce(add, (w[name] for w in windows[:-1])), windows[-1][name]) for name in windows[-1]
        }
        self._pairs = {
            n: (past, last) for n, (past, last) in pairs.items() if past.labels.any() and last.labels.any()
        }
        if not self._pairs:
            raise DataError(
                "there is nothing to tune the ranker on: in one of the label windows nobody chose anything "
                "that a source had offered; ingest a longer log or set a shorter ranker.label_window"
            )

    def score(self, trial: optuna.Trial) -> float:
        """NDCG@10 of the suggested settings, in [0, 1].

        Raises:
            optuna.TrialPruned: The first ranker falls behind what other trials had reached by then.
        """
        config = suggested(trial, "ranker", self._config)
        scores = []
        for number, (past, last) in enumerate(self._pairs.values()):
            watch = _pruning(trial) if number == 0 else _going_on
            scores.append(max(search_num_trees(past, last, config, watch).curve))
        return sum(scores) / len(scores)


class EncoderTrials:
    """Scores encoder settings by what the text alone finds of the new items of the last window."""

    def __init__(self, run: TrainingRun, log_dir: Path) -> None:
        """Take a run for its data, its label windows and its configuration.

        Args:
            run: The run.
            log_dir: Where the learning curves of the trials go.

        Raises:
            DataError: Nobody chose anything in the last window.
        """
        self._run, self._log_dir = run, log_dir
        self._from_ms, to_ms = run.window_starts[-1], run.window_ends[-1]
        self._truth = label_table(run.events, run.config, self._from_ms, to_ms).select(USER_ID, ITEM_ID)
        if self._truth.is_empty():
            raise DataError("nobody chose anything in the last label window, so there is nothing to tune on")
        self._parts: Parts | None = None

    def score(self, trial: optuna.Trial) -> float:
        """Recall@500 of the suggested settings, in [0, 1].

        Raises:
            DataError: Nobody chose anything new to them in the last window.
        """
        config = suggested(trial, "encoder", self._run.config)
        fitted = fit_encoder(
            self._run.catalogue, self._run.events, self._from_ms, config, self._log_dir / str(trial.number)
        )
        first = self._parts or self._run.parts(fitted, self._from_ms)
        vectors = quantise(text_vectors(fitted.towers, fitted.base))
        self._parts = replace(
            first,
            config=config,
            index=VectorIndex(vectors, self._run.catalogue),
            user_tower=fitted.towers.user,
            calibration=fitted.calibration,
        )
        return self._recall(self._parts)

    def _recall(self, parts: Parts) -> float:
        found, had = self._found(parts)
        new = self._truth.join(lists_frame(had), on=[USER_ID, ITEM_ID], how="anti")
        if new.is_empty():
            raise DataError(
                "nobody chose anything new to them in the last label window, and that is what an encoder is "
                "tuned on; tune the ranker alone with --only ranker"
            )
        scored = recall_at(lists_frame(found), new, RECALL_DEPTH)
        return float(scored[f"recall@{RECALL_DEPTH}"].to_numpy().mean())

    def _found(self, parts: Parts) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """By user: the items nearest to the interest vector, and those that the user had."""
        users = self._truth.select(USER_ID).unique().sort(USER_ID)
        queries = users.with_row_index(QUERY_ID).select(
            pl.col(QUERY_ID).cast(pl.Int64), USER_ID, pl.lit(self._from_ms, pl.Int64).alias(AS_OF)
        )
        log = OfflineLog.of(self._run.events, queries, parts.catalogue, parts.config)
        ids, user_ids = parts.catalogue.item_ids, users[USER_ID].to_list()
        found, had = dict[str, list[str]](), dict[str, list[str]]()
        for query_id, moment in offline_moments(log, parts, self._run.events):
            user_id = user_ids[query_id]
            found[user_id] = [ids[position] for position in _nearest(moment)]
            had[user_id] = [ids[position] for position in moment.user.positions.tolist()]
        return found, had


def _nearest(moment: Moment) -> list[int]:
    """Positions nearest to the interest vector, without what the user had."""
    had = set(moment.user.positions.tolist())
    nearest = moment.parts.index.nearest_items(
        moment.user_vector, RECALL_DEPTH + len(had), moment.popularity.engagement[-1]
    )
    return [position for position in nearest.tolist() if position not in had][:RECALL_DEPTH]


def _pruning(trial: optuna.Trial) -> Callable[[int, float], None]:
    def watch(round_: int, score: float) -> None:
        if round_ % _REPORT_EVERY == 0:
            trial.report(score, round_)
            if trial.should_prune():
                raise optuna.TrialPruned

    return watch


def _going_on(_round: int, _score: float) -> None:
    pass
