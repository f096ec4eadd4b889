"""The evaluation report: what a model reaches, against what, how sure that is, and on whom.

``evaluate_lists`` turns ranked lists and the truth into one JSON document; ``training.report_page`` writes it
with an HTML twin and shows it in a terminal. Every metric comes with a 95 % bootstrap interval over
users, and every baseline with the paired difference to it. Parts that nobody measured are left out. Making
the lists belongs elsewhere.

Beside the keys that every report has:

- ``slices.<name>.differences``: ours minus each baseline's NDCG@10 on the slice, paired by user. There are
  more slices than the four: known users by thirds of their activity, and cold and warm items among what is
  new to the user, see ``training.slices``.
- ``where_we_lose``: ``{slice, baseline, difference}`` for each interval wholly below 0; ``slice`` may be
  ``all``.
- ``never_below``: ``{ok, below, checked}``, whether no slice lies below a baseline that costs nothing; the
  rows of ``below`` are those of ``where_we_lose`` that it concerns.
- ``calibration``: ``expected_calibration_error`` and ``bins`` of the interest score, on held-out data.
- ``feature_gain`` and ``shap``: by ranker and feature, the total splitting gain, and the mean absolute
  contribution to the scores of what the test users see first.
- ``text_alone.<name>.<slice>``: NDCG@10 and recall@500 of the nearest items by text alone, before training
  (``frozen_text``), as it ships (``tuned_text``) and, where they were trained, by every strategy; with the
  paired ``difference`` to ``frozen_text`` by metric, and ``model``, what the model has more of NDCG@10.
- ``held_out``: ``share`` and ``num_items`` of the catalogue that the model was trained without, where it was.
- ``ablations.<variant>``: where variants were trained again, see ``training.ablations``, their metrics, and
  in ``slices``, of which ``all`` is one, those with the paired ``difference`` in NDCG@10, ours minus theirs.
- ``notes``: what the training run warned of, in sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from recsys.errors import DataError, LeakageError
from recsys.metrics import (
    Interval,
    coverage_interval,
    interval,
    paired_difference,
    per_user,
    recall_at,
    top,
)
from recsys.schema import ITEM_ID, RANK, USER_ID
from recsys.timestamps import iso
from training.slices import EVERYTHING, NOVEL, Slice, losses, never_below, slices
from training.window_lists import RECALL_DEPTH

K = 10
"""Ranks that count."""
HEADLINE = f"ndcg@{K}"
CANDIDATE_RECALL = f"recall@{RECALL_DEPTH}"
_SHIPPED_TEXTS = ("frozen_text", "tuned_text")


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
    texts: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Ranked lists by text alone: ``frozen_text`` before training, and what is compared with it."""
    held_out: Mapping[str, float] = field(default_factory=dict)
    """``share`` and ``num_items`` of the items that the model was trained without."""
    variants: Mapping[str, BaselineLists] = field(default_factory=dict)
    """Lists of variants of the model that were trained again, see ``training.ablations``."""
    timings_seconds: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Training curves: (step, value) by name."""
    feature_gain: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Total gain by ranker and feature."""
    shap: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Mean absolute contribution to a score, in its own unit, by ranker and feature."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """``expected_calibration_error`` and ``bins``, see ``recsys.calibration.Reliability``."""
    notes: Sequence[str] = ()
    """What the training run warned of."""


def evaluate_lists(evaluation: EvaluationInput, seed: int = 0) -> dict[str, Any]:
    """Score everything in ``evaluation``; ready for JSON.

    ``novel`` and the slices named after it compare novel lists with the truth that is new to the user.
    ``cold_items`` and ``warm_items`` keep the lists and restrict the truth to items without and with history;
    ``new_users`` restricts it to users without. A slice holds ``num_users``, and metrics when that is not 0.
    A baseline's ``difference`` is ours minus theirs in NDCG@10, paired by user; that of
    ``ablations.tuned_text`` is tuned minus frozen, by metric. The other keys are in the module's description.

    Raises:
        DataError: The truth is empty, or a frame lacks a column.
        LeakageError: The model was fitted on the test window.
    """
    _check(evaluation)
    users = evaluation.truth[USER_ID].unique()
    parts = slices(evaluation.truth, evaluation.history_pairs, evaluation.warm_items)
    scorer = _Scorer(users, evaluation.num_items, seed)
    whole = Slice(EVERYTHING, evaluation.truth)
    compared = {part.name: _compared(part, evaluation, scorer) for part in (whole, *parts)}
    return {
        "dataset": evaluation.dataset,
        "model_version": evaluation.model_version,
        "split": {
            "train_until": iso(evaluation.train_until_ms),
            "test_from": iso(evaluation.test_from_ms),
            "test_to": iso(evaluation.test_to_ms),
        },
        "num_users": users.len(),
        "metrics": scorer.system(evaluation.lists, evaluation.truth),
        "slices": {part.name: _slice(part, evaluation, scorer, compared[part.name]) for part in parts},
        "baselines": {
            name: _baseline(name, theirs, evaluation, compared=compared, novel=parts[0], scorer=scorer)
            for name, theirs in evaluation.baselines.items()
        },
        "where_we_lose": losses(compared),
        "never_below": never_below(compared),
        "ablations": _ablations(evaluation, (whole, *parts), scorer),
        "text_alone": _text_alone(evaluation, (whole, *parts), scorer),
        **({"held_out": dict(evaluation.held_out)} if evaluation.held_out else {}),
        "candidates": {CANDIDATE_RECALL: _candidates(evaluation.candidates, seed)},
        "timings_seconds": {name: float(seconds) for name, seconds in evaluation.timings_seconds.items()},
        **_of_training(evaluation),
    }


@dataclass(frozen=True, eq=False)
class _TextLists:
    """What is scored of a text's long lists; cut once, because every slice scores it."""

    first: pl.DataFrame
    """The first ``K``."""
    hits: pl.DataFrame
    """What users wanted among the first ``RECALL_DEPTH``; its ranks say nothing."""

    @classmethod
    def of(cls, lists: pl.DataFrame, truth: pl.DataFrame) -> "_TextLists":
        """Cut lists for scoring against parts of a truth."""
        first = top(lists, RECALL_DEPTH)
        return cls(first.filter(pl.col(RANK) <= K), first.join(truth, on=[USER_ID, ITEM_ID], how="semi"))


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

    def text(self, lists: "_TextLists", frozen: "_TextLists", truth: pl.DataFrame) -> dict[str, Any]:
        """NDCG and candidate recall of text alone, and the differences to the untrained encoder."""
        ours, theirs = (
            per_user(found.first, truth, self.users, K)
            .select(USER_ID, HEADLINE)
            .join(recall_at(found.hits, truth, RECALL_DEPTH), on=USER_ID)
            for found in (lists, frozen)
        )
        difference = _as_json(paired_difference(ours, theirs, self.seed))
        return {
            "num_users": ours.height,
            **_as_json(interval(ours, self.seed)),
            **({} if lists is frozen else {"difference": difference}),
        }

    def difference(
        self, ours: pl.DataFrame, theirs: pl.DataFrame, truth: pl.DataFrame
    ) -> dict[str, dict[str, float]]:
        """``difference``: ours minus theirs in NDCG; empty when no user has a truth."""
        mine, other = (
            per_user(lists, truth, self.users, K).select(USER_ID, HEADLINE) for lists in (ours, theirs)
        )
        differences = paired_difference(mine, other, self.seed)
        return {"difference": differences[HEADLINE].as_json()} if differences else {}


def _compared(part: Slice, evaluation: EvaluationInput, scorer: _Scorer) -> dict[str, dict[str, float]]:
    """Ours minus each baseline on a slice; nothing where nobody has a truth."""
    ours = _ours(evaluation, part)
    found = {
        name: scorer.difference(ours, theirs, part.truth)
        for name, theirs in _lists_of(evaluation.baselines, novel=part.novel).items()
    }
    return {name: block["difference"] for name, block in found.items() if block}


def _ours(evaluation: EvaluationInput, part: Slice) -> pl.DataFrame:
    return evaluation.novel_lists if part.novel else evaluation.lists


def _lists_of(systems: Mapping[str, BaselineLists], *, novel: bool) -> dict[str, pl.DataFrame]:
    chosen = {name: theirs.novel if novel else theirs.all for name, theirs in systems.items()}
    return {name: lists for name, lists in chosen.items() if lists is not None}


def _slice(
    part: Slice,
    evaluation: EvaluationInput,
    scorer: _Scorer,
    differences: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    if part.name == NOVEL:
        novel = scorer.system(evaluation.novel_lists, part.truth)
        block = {"num_users": part.truth[USER_ID].n_unique(), **novel}
    else:
        block = scorer.part(_ours(evaluation, part), part.truth)
    return {**block, **({"differences": dict(differences)} if differences else {})}


def _baseline(
    name: str,
    theirs: BaselineLists,
    evaluation: EvaluationInput,
    *,
    compared: Mapping[str, Mapping[str, Mapping[str, float]]],
    novel: Slice,
    scorer: _Scorer,
) -> dict[str, Any]:
    block = {**scorer.system(theirs.all, evaluation.truth), "difference": compared[EVERYTHING][name]}
    if theirs.settings:
        block["settings"] = {kind: dict(chosen) for kind, chosen in theirs.settings.items()}
    if theirs.novel is not None:
        difference = compared[novel.name].get(name)
        block["novel"] = {
            **scorer.system(theirs.novel, novel.truth),
            **({"difference": difference} if difference else {}),
        }
    return block


def _ablations(evaluation: EvaluationInput, parts: Sequence[Slice], scorer: _Scorer) -> dict[str, Any]:
    alone = {
        name: recall_at(lists, evaluation.truth, RECALL_DEPTH)
        for name, lists in evaluation.texts.items()
        if name in _SHIPPED_TEXTS
    }
    blocks: dict[str, Any] = {name: _as_json(interval(values, scorer.seed)) for name, values in alone.items()}
    if {"tuned_text", "frozen_text"} <= alone.keys():
        difference = paired_difference(alone["tuned_text"], alone["frozen_text"], scorer.seed)
        blocks["tuned_text"]["difference"] = _as_json(difference)
    for name, variant in evaluation.variants.items():
        by_slice = _retrained(variant, evaluation, parts, scorer)
        whole = scorer.system(variant.all, evaluation.truth)
        blocks[name] = {**whole, **blocks.get(name, {}), "slices": by_slice}
    return blocks


def _text_alone(evaluation: EvaluationInput, parts: Sequence[Slice], scorer: _Scorer) -> dict[str, Any]:
    """By name and slice: metrics of the text alone, compared with the untrained one and with the model."""
    everything, new = dict[str, _TextLists](), dict[str, _TextLists]()
    for name, found_by_text in evaluation.texts.items():
        never_had = found_by_text.join(evaluation.history_pairs, on=[USER_ID, ITEM_ID], how="anti")
        everything[name] = _TextLists.of(found_by_text, evaluation.truth)
        new[name] = _TextLists.of(never_had, evaluation.truth)
    found: dict[str, Any] = {name: {} for name in evaluation.texts}
    for part in parts:
        texts = new if part.novel else everything
        for name, lists in texts.items():
            if not part.truth.is_empty():
                ahead = scorer.difference(_ours(evaluation, part), lists.first, part.truth)
                found[name][part.name] = {
                    **scorer.text(lists, texts["frozen_text"], part.truth),
                    "model": ahead["difference"],
                }
    return found


def _retrained(
    variant: BaselineLists, evaluation: EvaluationInput, parts: Sequence[Slice], scorer: _Scorer
) -> dict[str, Any]:
    """By slice: the variant's metrics, and what this model has more of NDCG@10."""
    found = {}
    for part in parts:
        theirs = variant.novel if part.novel else variant.all
        if theirs is not None and not part.truth.is_empty():
            found[part.name] = {
                **scorer.part(theirs, part.truth),
                **scorer.difference(_ours(evaluation, part), theirs, part.truth),
            }
    return found


def _of_training(evaluation: EvaluationInput) -> dict[str, Any]:
    """What the training run and the rankers tell, where they tell it."""
    told = {
        "calibration": dict(evaluation.calibration),
        "feature_gain": {name: dict(gain) for name, gain in evaluation.feature_gain.items()},
        "shap": {name: dict(parts) for name, parts in evaluation.shap.items()},
        "notes": list(evaluation.notes),
    }
    return {name: value for name, value in told.items() if value}


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
            f"{iso(evaluation.train_until_ms)} for a window from {iso(evaluation.test_from_ms)}; "
            f"train with --until {iso(evaluation.test_from_ms)} or earlier"
        )
    if evaluation.truth.is_empty():
        raise DataError(
            f"expected events in the test window from {iso(evaluation.test_from_ms)} to "
            f"{iso(evaluation.test_to_ms)}, got none; choose a window that the log covers"
        )


def _as_json(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: value.as_json() for name, value in intervals.items()}
