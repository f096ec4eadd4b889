"""Trains the LightGBM rankers on past decisions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from features.registry import names, names_of_families
from recsys.config import Config
from recsys.errors import ConfigError, DataError
from recsys.lightgbm_alone import lightgbm
from recsys.progress import progress
from recsys.ranker import Ranker
from training.boosting import ALONE, Boosting
from training.decisions import Decisions
from training.forest import joined
from training.labels import gains

_EVALUATED_AT = 10


Objective = Literal["lambdarank", "binary"]


class Anchor(NamedTuple):
    """A feature that orders well by itself: boosting starts from it and corrects it."""

    feature: str
    weight: float
    """What a unit of the feature adds to the margin."""


class Plan(NamedTuple):
    """One way to boost; what it leaves open stands in the configuration."""

    objectives: tuple[Objective, ...] = ("lambdarank", "binary")
    """One forest each, of as many trees; a score is the sum of their margins. The first one's number of trees
    is searched for."""
    families: tuple[str, ...] = ()
    """Feature families that trees may split on; empty for all."""
    num_leaves: int | None = None
    """Leaves per tree, at most; the configuration's where there is none."""
    learning_rate: float | None = None
    """The configuration's where there is none."""
    anchor: Anchor | None = None


PLANS: Mapping[str, Plan] = {
    "whole": Plan(),
    "unbiased": Plan(("lambdarank",)),
    "anchored": Plan(("lambdarank",), ("shown",), 7, 0.02, Anchor("appeal", 2.5)),
}
"""Plans by name. Two forests that learn the same from different losses err in different places. A few
thousand short lists carry few features: there, ``anchored`` starts from the one that orders best alone, and
corrects it by what else lists show. Only LambdaMART takes a position bias out."""
_ANCHOR_LEAVES = 255
"""Steps by which a tree follows an anchor."""


class Settled(NamedTuple):
    """What a search came to."""

    plan: str
    """A name in ``PLANS``."""
    num_trees: int


class Searched(NamedTuple):
    """How far boosting went, as the last window saw it."""

    num_trees: int
    """The best number."""
    curve: list[float]
    """NDCG@10 by round."""
    by_decision: Float64[np.ndarray, " decisions"]
    """NDCG@10 of each decision with so many trees."""


def fit_ranker(
    train: Decisions,
    validation: Decisions,
    config: Config,
    *,
    plans: Sequence[str] = ("whole",),
    settled: Settled | None = None,
    boosting: Boosting = ALONE,
) -> tuple[Ranker, dict[str, Any]]:
    """Find plan and number of trees on the last window, then fit on all windows with them.

    Args:
        train: Decisions of the earlier windows, as far as this process learns from them.
        validation: Decisions of the last window, all of them.
        config: The ranker's settings.
        plans: Names in ``PLANS`` to choose from, the simplest first; a later one is taken if it is better on
            the last window by more than a standard error of the difference over its decisions.
        settled: Plan and number of trees, where they are known already and not to be searched for.
        boosting: Where the forests are grown.

    Returns:
        The ranker, and what was seen on the way: ``plan``, ``num_trees``, ``curve`` (NDCG@10 by round on the
        last window; empty without a search).

    Raises:
        ConfigError: ``ranker.monotone`` names a feature that does not exist.
        DataError: There is no decision with a positive to learn from.
    """
    if not train.labels.any() or not validation.labels.any():
        raise DataError(
            "the ranker learns from what users chose: in one of the label windows nobody chose anything that "
            "a source had offered; ingest a longer log or set a shorter ranker.label_window"
        )
    curve: list[float] = []
    if settled is None:
        found = {
            name: search_num_trees(train, validation, config, plan=PLANS[name], boosting=boosting)
            for name in plans
        }
        best = _chosen(found)
        curve, settled = found[best].curve, Settled(best, found[best].num_trees)
    plan, everything = PLANS[settled.plan], train + boosting.own(validation)
    anchors = [_follow(plan.anchor, everything, config, boosting)] if plan.anchor else []
    forests = [
        _boost(everything, config, settled.num_trees, plan, objective, anchors=anchors, boosting=boosting)
        for objective in plan.objectives
    ]
    return Ranker(joined(forests + anchors)), settled._asdict() | {
        "curve": [(i + 1, score) for i, score in enumerate(curve)]
    }


def search_num_trees(
    train: Decisions,
    validation: Decisions,
    config: Config,
    on_round: Callable[[int, float], None] = lambda _round, _score: None,
    plan: Plan = PLANS["whole"],
    *,
    boosting: Boosting = ALONE,
) -> Searched:
    """Fit on the earlier windows until the last one shows no improvement.

    Args:
        train: Decisions of the earlier windows.
        validation: Decisions of the last window.
        config: The ranker's settings.
        on_round: Called with every round, from 1, and its NDCG@10 on the last window; may raise to stop.
        plan: How to boost.
        boosting: Where the forests are grown.
    """
    curve: dict[str, dict[str, list[float]]] = {}
    metric = f"ndcg@{_EVALUATED_AT}"
    anchors = [_follow(plan.anchor, train, config, boosting)] if plan.anchor else []
    search = _boost(
        train,
        config,
        config.ranker.num_trees,
        plan,
        plan.objectives[0],
        anchors=anchors,
        boosting=boosting,
        valid_sets=[
            _dataset(validation, config, "lambdarank", anchors)
        ],  # LightGBM's NDCG would heed weights
        callbacks=[
            lightgbm.early_stopping(config.ranker.patience, verbose=False),
            lightgbm.record_evaluation(curve),
            lambda round_: on_round(round_.iteration + 1, round_.evaluation_result_list[0][2]),
        ],
    )
    margins = search.predict(validation.matrix, raw_score=True)
    scores = np.sum([margins, *(anchor.predict(validation.matrix) for anchor in anchors)], axis=0)
    return Searched(
        search.best_iteration, curve["valid_0"][metric], _ndcg_by_decision(scores, validation, config)
    )


def _chosen(found: Mapping[str, Searched]) -> str:
    """The first plan, or a later one that is better beyond doubt.

    Source: Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2nd ed. (2009), section
    7.10, the "one-standard-error" rule; here of the paired difference.
    """
    best, *others = found
    for name in others:
        better = found[name].by_decision - found[best].by_decision
        if better.mean() > better.std() / len(better) ** 0.5:
            best = name
    return best


def _ndcg_by_decision(
    scores: Float64[np.ndarray, " rows"], decisions: Decisions, config: Config
) -> Float64[np.ndarray, " decisions"]:
    """LightGBM's NDCG@10 of each decision, which it reports as a mean; 1 where nothing was taken."""
    gain, discount = np.asarray(gains(config)), 1 / np.log2(np.arange(2, _EVALUATED_AT + 2))
    found, ends = np.ones(len(decisions.groups)), np.cumsum(decisions.groups)
    for i, (start, end) in enumerate(zip(ends - decisions.groups, ends, strict=True)):
        of_rows = gain[decisions.labels[start:end]]
        first, best = of_rows[np.argsort(-scores[start:end], kind="stable")], np.sort(of_rows)[::-1]
        if best[0] > 0:
            cut = discount[: len(best)]
            found[i] = (first[:_EVALUATED_AT] @ cut) / (best[:_EVALUATED_AT] @ cut)
    return found


def monotone_constraints(config: Config) -> list[int]:
    """The direction of every feature, in column order: 1 up, -1 down, 0 either.

    Raises:
        ConfigError: ``ranker.monotone`` names a feature that does not exist.
    """
    known = names(config.state)
    unknown = sorted(set(config.ranker.monotone) - set(known))
    if unknown:
        raise ConfigError(
            f"ranker.monotone names features that do not exist: {', '.join(unknown)}; "
            f"there are: {', '.join(known)}"
        )
    return [config.ranker.monotone.get(name, 0) for name in known]


def _dataset(
    decisions: Decisions, config: Config, objective: Objective, anchors: Sequence[lightgbm.Booster] = ()
) -> lightgbm.Dataset:
    """For LightGBM; binary cross-entropy knows no grades, so there a grade's gain is the row's weight."""
    is_ranked = objective == "lambdarank"
    is_biased = is_ranked and config.ranker.position == "bias" and decisions.places is not None
    gain = np.asarray(gains(config))[decisions.labels]
    weights = np.where(gain > 0, gain / (gain.max(initial=0.0) or 1.0), 1.0)
    return lightgbm.Dataset(
        decisions.matrix,
        decisions.labels,
        group=decisions.groups,
        weight=None if is_ranked else weights,
        feature_name=list(names(config.state)),
        free_raw_data=False,
        params={"min_data_in_leaf": config.ranker.min_data_in_leaf},
        position=decisions.places if is_biased else None,
        init_score=np.sum([anchor.predict(decisions.matrix) for anchor in anchors], axis=0)
        if anchors
        else None,
    )


def _follow(
    anchor: Anchor, decisions: Decisions, config: Config, boosting: Boosting = ALONE
) -> lightgbm.Booster:
    """One tree that is the anchor in steps: explanations stay exact, and ties are left to the forest.

    Rows without a value are like one of 0.
    """
    column = names(config.state).index(anchor.feature)
    wanted = anchor.weight * np.nan_to_num(decisions.matrix[:, column].astype(np.float64))
    parameters = {
        "objective": "regression",
        "learning_rate": 1.0,
        "num_leaves": _ANCHOR_LEAVES,
        "min_data_in_leaf": 1,
        "feature_contri": [float(i == column) for i in range(decisions.matrix.shape[1])],
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(decisions.matrix, wanted, feature_name=list(names(config.state)))
    return boosting.grow(parameters, data, 1)


def _boost(
    decisions: Decisions,
    config: Config,
    num_trees: int,
    plan: Plan,
    objective: Objective,
    *,
    anchors: Sequence[lightgbm.Booster] = (),
    valid_sets: Sequence[lightgbm.Dataset] = (),
    callbacks: Sequence[Callable[..., Any]] = (),
    boosting: Boosting = ALONE,
) -> lightgbm.Booster:
    settings = config.ranker
    directions = monotone_constraints(config)
    parameters = {
        "objective": objective,
        "metric": "ndcg",
        "eval_at": [_EVALUATED_AT],
        "label_gain": gains(config),
        "num_leaves": min(settings.num_leaves, plan.num_leaves or settings.num_leaves),
        **({"feature_contri": _allowed(plan, config)} if plan.families else {}),
        "learning_rate": plan.learning_rate or settings.learning_rate,
        "min_data_in_leaf": min(settings.min_data_in_leaf, max(len(decisions.labels) // 20, 1)),
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": settings.feature_fraction,
        "lambda_l2": settings.l2,
        **({"monotone_constraints": directions} if any(directions) else {}),
        "seed": config.seed % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    with progress("boosting trees", num_trees) as advance:
        return boosting.grow(
            parameters,
            _dataset(decisions, config, objective, anchors),
            num_trees,
            valid_sets=valid_sets,
            callbacks=[*callbacks, lambda _: advance(1)],
        )


def _allowed(plan: Plan, config: Config) -> list[float]:
    """What a split on each feature counts for: 1, or 0 for one that the plan leaves alone."""
    allowed = names_of_families(config.state, plan.families)
    return [float(name in allowed) for name in names(config.state)]


def canary_rows(decisions: Decisions, num_rows: int = 32) -> np.ndarray:
    """A few rows of ranker input, evenly spread."""
    rows: np.ndarray = decisions.matrix[np.linspace(0, len(decisions.matrix) - 1, num_rows).astype(int)]
    return rows
