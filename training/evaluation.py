"""Evaluates a bundle on what happened after its data ended, against baselines that got the same care."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int64

from features.log import OfflineLog
from features.moments import offline_states
from features.registry import OnlineFeatures, fingerprint
from recsys.answer import Query, RankedList
from recsys.bundle import Bundle, load_bundle
from recsys.catalogue import Catalogue
from recsys.errors import DataError, LeakageError
from recsys.event_log import EventLog
from recsys.item_state import ItemState
from recsys.manifest import read_manifest
from recsys.metrics import recall_at
from recsys.moment import Moment
from recsys.pipeline import Pipeline
from recsys.progress import progress
from recsys.registry import Registry
from recsys.schema import AS_OF, DAY_MS, EFFECTIVE_TIME, EVENT_TYPE, ITEM_ID, QUERY_ID, RANK, USER_ID
from recsys.workspace import Workspace
from training import baselines
from training.report import BaselineLists, EvaluationInput, evaluate_lists, write_report

_DEPTH = 10
_RECALL_DEPTH = 500
_EVERYTHING = 10_000


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation."""

    report: dict[str, Any]
    """Ready for JSON."""
    html_path: Path


def evaluate(
    workspace: Workspace,
    *,
    version: str | None = None,
    test_from_ms: int | None = None,
    test_to_ms: int | None = None,
    json_path: Path | None = None,
    html_path: Path | None = None,
    dataset: str = "workspace",
    baseline_names: Sequence[str] = baselines.CHEAP,
) -> Evaluated:
    """Rank for every user of the test window as of its start, and write the report.

    Args:
        workspace: The workspace.
        version: The bundle; the registry's ``stable`` when absent.
        test_from_ms: Start of the test window, milliseconds since the epoch; the end of the bundle's data
            when absent.
        test_to_ms: Its end, exclusive; the end of the log when absent.
        json_path: Where the JSON report goes, if anywhere.
        html_path: Where its HTML twin goes; ``reports/<version>.html`` of the workspace when absent.
        dataset: Name of the data in the report.
        baseline_names: What to compare with: some of ``training.baselines.ALL``.

    Raises:
        LeakageError: The bundle was fitted beyond the start of the test window.
        DataError: The log ends before the test window.
    """
    registry = Registry(workspace.registry)
    directory = registry.path(version) if version is not None else registry.stable()
    bundle = load_bundle(directory, fingerprint(read_manifest(directory).config.state))
    fitted_until_ms = bundle.manifest.fitted_until_ms
    start_ms = fitted_until_ms if test_from_ms is None else test_from_ms
    if fitted_until_ms > start_ms:
        raise LeakageError(
            f"bundle {bundle.manifest.version} was fitted on events until "
            f"{bundle.manifest.fitted_until:%Y-%m-%dT%H:%M:%SZ}, beyond the start of the test window; "
            "train with an earlier --until or test later"
        )
    run = _Evaluation(workspace, bundle, start_ms=start_ms, to_ms=test_to_ms, dataset=dataset)
    evaluation = run.input(baseline_names)
    report = evaluate_lists(evaluation, seed=bundle.manifest.config.seed)
    target = html_path if html_path is not None else workspace.reports / f"{bundle.manifest.version}.html"
    write_report(report, evaluation, json_path, target)
    return Evaluated(report, target)


class _Evaluation:
    """Makes the lists that a report is computed from."""

    def __init__(
        self,
        workspace: Workspace,
        bundle: Bundle,
        *,
        start_ms: int,
        to_ms: int | None,
        dataset: str,
    ) -> None:
        self.bundle, self.start_ms, self.dataset = bundle, start_ms, dataset
        self.config = bundle.manifest.config
        self.catalogue = bundle.parts.catalogue
        self.log = EventLog(workspace.events)
        end_ms = (self.log.end_ms() or 0) + 1
        self.end_ms = end_ms if to_ms is None else min(to_ms, end_ms)
        positive = [name for name, weight in self.config.state.event_weights.items() if weight > 0]
        liked = self.log.scan().filter(pl.col(EVENT_TYPE).is_in(positive))
        time_ms = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        in_test = (time_ms >= start_ms) & (time_ms < self.end_ms)
        self.history = (
            liked.filter(time_ms < start_ms).select(USER_ID, ITEM_ID, EVENT_TYPE, EFFECTIVE_TIME).collect()
        )
        self.truth = liked.filter(in_test).select(USER_ID, ITEM_ID).unique().sort(USER_ID, ITEM_ID).collect()
        if self.truth.is_empty():
            raise DataError(
                "nothing happened after the bundle's data ended "
                f"({bundle.manifest.fitted_until:%Y-%m-%dT%H:%M:%SZ}), so there is nothing to test on; "
                "train with --until earlier, and then evaluate"
            )
        self.users = self.truth[USER_ID].unique().sort()
        self.history_pairs = self.history.select(USER_ID, ITEM_ID).unique()
        self.seconds: dict[str, float] = dict(bundle.manifest.training.get("seconds", {}))

    def input(self, baseline_names: Sequence[str]) -> EvaluationInput:
        lists, novel, sources, text = self._rank()
        started = time.monotonic()
        found = self._baselines(baseline_names)
        self.seconds["baselines"] = time.monotonic() - started
        training = self.bundle.manifest.training
        return EvaluationInput(
            dataset=self.dataset,
            train_until_ms=self.bundle.manifest.fitted_until_ms,
            test_from_ms=self.start_ms,
            test_to_ms=self.end_ms,
            model_version=self.bundle.manifest.version,
            lists=_top(lists),
            novel_lists=novel,
            truth=self.truth,
            history_pairs=self.history_pairs,
            warm_items=self.history[ITEM_ID].unique(),
            num_items=len(self.catalogue),
            baselines=found,
            candidates={name: recall_at(frame, self.truth, _RECALL_DEPTH) for name, frame in sources.items()},
            ablations={name: recall_at(frame, self.truth, _RECALL_DEPTH) for name, frame in text.items()},
            timings_seconds=self.seconds,
            curves={
                "encoder validation loss": [
                    (int(step), float(loss)) for step, loss in training["encoder"]["curve"]
                ],
                **{
                    f"ranker validation NDCG@10 ({name})": [
                        (int(step), float(score)) for step, score in ranker["curve"]
                    ]
                    for name, ranker in training["rankers"].items()
                },
            },
            feature_gain={name: float(gain) for name, gain in training["rankers"]["all"]["gain"].items()},
        )

    def _rank(
        self,
    ) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
        """Every user's ranking of all and of new items, each source's offers, and what text alone finds."""
        started = time.monotonic()
        items = ItemState.from_events(self.catalogue, self.config.state, self.log.scan(), self.start_ms)
        pipeline = Pipeline(self.bundle, items, OnlineFeatures(self.config.state))
        queries = (
            pl.DataFrame({USER_ID: self.users})
            .with_row_index(QUERY_ID)
            .with_columns(pl.col(QUERY_ID).cast(pl.Int64), pl.lit(self.start_ms, pl.Int64).alias(AS_OF))
        )
        states = offline_states(OfflineLog.of(self.log.scan(), queries, self.catalogue, self.config))
        ranked: dict[str, list[str]] = {}
        novel: dict[str, list[str]] = {}
        sources: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        text: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        with progress("ranking for the test users", len(self.users)) as advance:
            for query_id, user_id in enumerate(self.users.to_list()):
                query = Query(as_of_ms=self.start_ms, user=states.get(query_id), limit=_EVERYTHING)
                answer = pipeline.recommend(query)
                new = pipeline.recommend(replace(query, novel=True, limit=_DEPTH))
                novel[user_id] = [item.item_id for item in new.items]
                ranked[user_id] = [item.item_id for item in answer.items]
                for name, offered in _by_source(answer).items():
                    sources[name][user_id] = offered
                for name, found in self._text_alone(pipeline.moment(query)).items():
                    text[name][user_id] = found
                advance(1)
        sources["merged"] = ranked
        self.seconds["ranking"] = time.monotonic() - started
        return (
            _frame(ranked),
            _frame(novel),
            {n: _frame(f) for n, f in sources.items()},
            {n: _frame(f) for n, f in text.items()},
        )

    def _text_alone(self, moment: Moment) -> dict[str, list[str]]:
        """The encoder's own candidates, after training and before.

        The pretrained encoder has no user tower: its user vector is the mean of the recent items' vectors,
        each weighted by the square root of its count.
        """
        popularity = moment.item_engagement[-1]
        recent = moment.user.recent
        if not len(recent.positions):
            return {}
        tuned = moment.parts.index.nearest_items(moment.user_vector, _RECALL_DEPTH, popularity)
        frozen = moment.parts.words.nearest_items(moment.words_vector, _RECALL_DEPTH, popularity)
        return {"tuned_text": _ids(self.catalogue, tuned), "frozen_text": _ids(self.catalogue, frozen)}

    def _baselines(self, names: Sequence[str]) -> dict[str, BaselineLists]:
        weights = {name: weight for name, weight in self.config.state.event_weights.items() if weight > 0}
        time_ms = pl.col(EFFECTIVE_TIME).dt.epoch("ms")
        shown = self.log.scan().filter(pl.col(EVENT_TYPE) == "impression", time_ms < self.start_ms)
        found = baselines.compare(
            pl.concat([self.history, shown.select(self.history.columns).collect()]),
            self.users,
            self.start_ms,
            names=names,
            window_days=-(-(self.end_ms - self.start_ms) // DAY_MS),
            depth=_DEPTH,
            weights=weights,
        )
        return {name: BaselineLists(its.all, its.novel, its.settings) for name, its in found.items()}


def _by_source(answer: RankedList) -> Mapping[str, list[str]]:
    offered: defaultdict[str, list[str]] = defaultdict(list)
    for item in answer.items:
        for source in item.sources:
            offered[source].append(item.item_id)
    return offered


def _ids(catalogue: Catalogue, positions: Int64[np.ndarray, " items"]) -> list[str]:
    return [catalogue.item_ids[position] for position in positions.tolist()]


def _frame(items_by_user: Mapping[str, list[str]]) -> pl.DataFrame:
    return (
        pl.DataFrame(
            {USER_ID: list(items_by_user), ITEM_ID: list(items_by_user.values())},
            schema={USER_ID: pl.String, ITEM_ID: pl.List(pl.String)},
        )
        .explode(ITEM_ID)
        .drop_nulls()
        .with_columns(pl.int_range(1, pl.len() + 1).over(USER_ID).alias(RANK))
    )


def _top(lists: pl.DataFrame) -> pl.DataFrame:
    return (
        lists.sort(USER_ID, RANK)
        .with_columns(pl.int_range(1, pl.len() + 1).over(USER_ID).alias(RANK))
        .filter(pl.col(RANK) <= _DEPTH)
    )
