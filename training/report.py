"""The evaluation report: what a model reaches, against what, how sure that is, and on whom.

``evaluate_lists`` turns ranked lists and the truth into one JSON document; ``write_report`` writes it with an
HTML twin, ``summary_table`` shows it in a terminal. Every metric comes with a 95 % bootstrap interval over
users, and every baseline with the paired difference to it. Parts that nobody measured are left out. Making
the lists belongs elsewhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
from rich.table import Table

from recsys.errors import DataError, LeakageError
from recsys.metrics import Interval, coverage_interval, interval, paired_difference, per_user
from recsys.schema import ITEM_ID, USER_ID
from recsys.workspace import atomic_path
from training.plots import charts, label

K = 10
"""Ranks that count."""
HEADLINE = f"ndcg@{K}"
CANDIDATE_RECALL = "recall@500"
_PAIR = [USER_ID, ITEM_ID]


@dataclass(frozen=True)
class BaselineLists:
    """A baseline's ranked lists (``user_id``, ``item_id``, ``rank`` from 1)."""

    all: pl.DataFrame
    """Over the whole catalogue."""
    novel: pl.DataFrame | None = None
    """Over what the user never had; ``None`` when it was not made."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What tuning chose, for ``all`` and for ``novel``; goes into the report as it is."""


@dataclass(frozen=True, kw_only=True)
class EvaluationInput:
    """Everything a report is made of. Times are milliseconds since the epoch, UTC."""

    dataset: str
    train_until_ms: int
    """What was fitted saw events strictly before this."""
    test_from_ms: int
    test_to_ms: int
    """The test window is [``test_from_ms``, ``test_to_ms``)."""
    model_version: str
    lists: pl.DataFrame
    """Our ranked lists over the whole catalogue: ``user_id``, ``item_id``, ``rank`` from 1."""
    novel_lists: pl.DataFrame
    """Our ranked lists over what the user never had."""
    truth: pl.DataFrame
    """``user_id``, ``item_id``: what users chose in the test window."""
    history_pairs: pl.DataFrame
    """``user_id``, ``item_id``: what users had before it."""
    warm_items: pl.Series
    """Ids of the items that anybody had before it."""
    num_items: int
    """Items that could have been recommended."""
    baselines: Mapping[str, BaselineLists] = field(default_factory=dict)
    candidates: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Per-user ``recall@500`` by candidate source, and of all together as ``merged``."""
    ablations: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Per-user metrics of variants of the model; ``tuned_text`` is compared with ``frozen_text``."""
    timings_seconds: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Training curves: (step, value) by name."""
    feature_gain: Mapping[str, float] = field(default_factory=dict)
    """The ranker's total gain by feature."""


def evaluate_lists(evaluation: EvaluationInput, seed: int = 0) -> dict[str, Any]:
    """Score everything in ``evaluation``; ready for JSON.

    ``novel`` compares novel lists with the truth that is new to the user. ``cold_items`` and ``warm_items``
    keep the lists and restrict the truth to items without and with history; ``new_users`` restricts it to
    users without. A slice holds ``num_users``, and metrics when that is not 0. A baseline's ``difference`` is
    ours minus theirs in NDCG@10, paired by user; that of ``ablations.tuned_text`` is tuned minus frozen, by
    metric.

    Raises:
        DataError: The truth is empty, or a frame lacks a column.
        LeakageError: The model was fitted on the test window.
    """
    _check(evaluation)
    users = evaluation.truth[USER_ID].unique()
    new_truth = evaluation.truth.join(evaluation.history_pairs, on=_PAIR, how="anti")
    scorer = _Scorer(users, evaluation.num_items, seed)
    return {
        "dataset": evaluation.dataset,
        "model_version": evaluation.model_version,
        "split": {
            "train_until": _iso(evaluation.train_until_ms),
            "test_from": _iso(evaluation.test_from_ms),
            "test_to": _iso(evaluation.test_to_ms),
        },
        "num_users": users.len(),
        "metrics": scorer.system(evaluation.lists, evaluation.truth),
        "slices": _slices(evaluation, new_truth, scorer),
        "baselines": {
            name: _baseline(theirs, evaluation, new_truth, scorer)
            for name, theirs in evaluation.baselines.items()
        },
        "ablations": _ablations(evaluation.ablations, seed),
        "candidates": {CANDIDATE_RECALL: _candidates(evaluation.candidates, seed)},
        "timings_seconds": {name: float(seconds) for name, seconds in evaluation.timings_seconds.items()},
    }


def write_report(
    report: Mapping[str, Any], evaluation: EvaluationInput, json_path: Path | None, html_path: Path
) -> None:
    """Write the report as JSON, where a path is given, and as one self-contained HTML page; both atomically.

    Args:
        report: What ``evaluate_lists`` returned for ``evaluation``.
        evaluation: Its input; the page's curves and feature gains are read from here.
        json_path: Where the JSON goes, or ``None``.
        html_path: Where the page goes.
    """
    page = _page(report, evaluation)
    if json_path is not None:
        text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        with atomic_path(json_path) as partial:
            partial.write_text(text, encoding="utf-8")
    with atomic_path(html_path) as partial:
        partial.write_text(page, encoding="utf-8")


def summary_table(report: Mapping[str, Any]) -> Table:
    """The model and its baselines side by side, for a terminal."""
    split = report["split"]
    title = f"{report['dataset']}: {report['num_users']:,} users, {split['test_from']} to {split['test_to']}"
    table = Table(title=title, caption="95 % bootstrap intervals over users", show_lines=True)
    table.add_column("")
    for heading in ("NDCG@10", "ours - theirs", "NDCG@10, novel", "ours - theirs", "recall@10", "hit@10"):
        table.add_column(heading, justify="right")
    rows = {"model": {**report["metrics"], "novel": report["slices"]["novel"]}, **report["baselines"]}
    for name, block in rows.items():
        novel = block.get("novel", {})
        cells = (
            _cell(block.get(HEADLINE)),
            _cell(block.get("difference"), sign="+"),
            _cell(novel.get(HEADLINE)),
            _cell(novel.get("difference"), sign="+"),
            _cell(block.get(f"recall@{K}")),
            _cell(block.get(f"hit@{K}")),
        )
        table.add_row(label(name), *cells, style="bold" if name == "model" else None)
    return table


@dataclass(frozen=True)
class _Scorer:
    """Scores lists for the test users of one report."""

    users: pl.Series
    num_items: int
    seed: int

    def system(self, lists: pl.DataFrame, truth: pl.DataFrame) -> dict[str, Any]:
        """Metrics of a recommender's lists, coverage among them; empty when no user has a truth."""
        scores = per_user(lists, truth, self.users, K)
        if scores.is_empty():
            return {}
        shown = lists.join(self.users.to_frame(USER_ID), on=USER_ID, how="semi")
        coverage = coverage_interval(shown, self.num_items, self.seed, K)
        return {**_as_json(interval(scores, self.seed)), f"coverage@{K}": coverage.as_json()}

    def part(self, lists: pl.DataFrame, truth: pl.DataFrame) -> dict[str, Any]:
        """Metrics against a part of the truth, without coverage: the lists are not about that part."""
        scores = per_user(lists, truth, self.users, K)
        return {"num_users": scores.height, **_as_json(interval(scores, self.seed))}

    def difference(
        self, ours: pl.DataFrame, theirs: pl.DataFrame, truth: pl.DataFrame
    ) -> dict[str, dict[str, float]]:
        """``difference``: ours minus theirs in NDCG; empty when no user has a truth."""
        mine, other = (
            per_user(lists, truth, self.users, K).select(USER_ID, HEADLINE) for lists in (ours, theirs)
        )
        differences = paired_difference(mine, other, self.seed)
        return {"difference": differences[HEADLINE].as_json()} if differences else {}


def _slices(evaluation: EvaluationInput, new_truth: pl.DataFrame, scorer: _Scorer) -> dict[str, Any]:
    truth, lists = evaluation.truth, evaluation.lists
    warm = evaluation.warm_items.alias(ITEM_ID).unique().to_frame()
    num_novel = new_truth[USER_ID].n_unique()
    return {
        "novel": {"num_users": num_novel, **scorer.system(evaluation.novel_lists, new_truth)},
        "cold_items": scorer.part(lists, truth.join(warm, on=ITEM_ID, how="anti")),
        "warm_items": scorer.part(lists, truth.join(warm, on=ITEM_ID, how="semi")),
        "new_users": scorer.part(lists, truth.join(evaluation.history_pairs, on=USER_ID, how="anti")),
    }


def _baseline(
    theirs: BaselineLists, evaluation: EvaluationInput, new_truth: pl.DataFrame, scorer: _Scorer
) -> dict[str, Any]:
    truth = evaluation.truth
    block = {
        **scorer.system(theirs.all, truth),
        **scorer.difference(evaluation.lists, theirs.all, truth),
    }
    if theirs.settings:
        block["settings"] = {kind: dict(chosen) for kind, chosen in theirs.settings.items()}
    if theirs.novel is not None:
        block["novel"] = {
            **scorer.system(theirs.novel, new_truth),
            **scorer.difference(evaluation.novel_lists, theirs.novel, new_truth),
        }
    return block


def _ablations(ablations: Mapping[str, pl.DataFrame], seed: int) -> dict[str, Any]:
    blocks: dict[str, Any] = {name: _as_json(interval(values, seed)) for name, values in ablations.items()}
    if {"tuned_text", "frozen_text"} <= ablations.keys():
        difference = paired_difference(ablations["tuned_text"], ablations["frozen_text"], seed)
        blocks["tuned_text"]["difference"] = _as_json(difference)
    return blocks


def _candidates(candidates: Mapping[str, pl.DataFrame], seed: int) -> dict[str, Any]:
    recall = {
        name: interval(values.select(USER_ID, CANDIDATE_RECALL), seed)[CANDIDATE_RECALL].as_json()
        for name, values in candidates.items()
        if not values.is_empty()
    }
    merged = {"merged": recall.pop("merged")} if "merged" in recall else {}
    return {"by_source": recall, **merged}


def _check(evaluation: EvaluationInput) -> None:
    if evaluation.train_until_ms > evaluation.test_from_ms:
        raise LeakageError(
            f"expected a model that was fitted before the test window, got one fitted until "
            f"{_iso(evaluation.train_until_ms)} for a window from {_iso(evaluation.test_from_ms)}; "
            f"train with --until {_iso(evaluation.test_from_ms)} or earlier"
        )
    if evaluation.truth.is_empty():
        raise DataError(
            f"expected events in the test window from {_iso(evaluation.test_from_ms)} to "
            f"{_iso(evaluation.test_to_ms)}, got none; choose a window that the log covers"
        )


def _page(report: Mapping[str, Any], evaluation: EvaluationInput) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = label
    drawn = charts(report, evaluation.curves, evaluation.feature_gain)
    return environment.get_template("report.html.j2").render(
        report=report, charts=drawn, num_items=evaluation.num_items
    )


def _as_json(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: value.as_json() for name, value in intervals.items()}


def _cell(numbers: Mapping[str, float] | None, sign: str = "") -> str:
    if numbers is None:
        return ""
    form = f"{sign}.4f"
    return f"{numbers['value']:{form}}\n[dim]{numbers['low']:{sign}.3f} to {numbers['high']:{sign}.3f}[/dim]"


def _iso(milliseconds: int) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    precision = "milliseconds" if milliseconds % 1000 else "seconds"
    return time.isoformat(timespec=precision).replace("+00:00", "Z")
