from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from features.registry import names, names_of_families
from recsys.config import Config, RankerConfig
from recsys.errors import ConfigError, DataError
from recsys.ranker import Ranker
from training.decisions import Decisions
from training.ranker_fit import (
    PLANS,
    Settled,
    canary_rows,
    fit_ranker,
    monotone_constraints,
    search_num_trees,
)

CONFIG = Config(
    ranker=RankerConfig(num_trees=30, num_leaves=7, min_data_in_leaf=5, patience=5, learning_rate=0.2)
)
NAMES = names(CONFIG.state)
TELLING = 3
"""The one feature that labels follow."""


def decisions(seed: int, num_queries: int = 80, size: int = 12) -> Decisions:
    """Queries in which the items with the greatest value of one feature were bought, the next ones viewed."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(num_queries * size, len(NAMES))).astype(np.float32)
    rank = np.argsort(np.argsort(-matrix[:, TELLING].reshape(num_queries, size), axis=1), axis=1).ravel()
    labels = np.where(rank < 2, 4, np.where(rank < 4, 1, 0))
    return Decisions(
        matrix=matrix,
        labels=labels.astype(np.int64),
        positions=np.tile(np.arange(size), num_queries),
        groups=np.full(num_queries, size),
        users=[f"user-{query}" for query in range(num_queries)],
    )


def without_positives(given: Decisions) -> Decisions:
    return replace(given, labels=np.zeros_like(given.labels))


def test_the_ranker_finds_the_feature_that_labels_follow() -> None:
    ranker, _ = fit_ranker(decisions(0), decisions(1), CONFIG)
    gain = ranker.gain()
    assert max(gain, key=lambda name: gain[name]) == NAMES[TELLING]
    unseen = decisions(2)
    scores = ranker.scores(unseen.matrix).reshape(80, 12)
    best = np.argmax(scores, axis=1)
    assert (unseen.labels.reshape(80, 12)[np.arange(80), best] == 4).mean() >= 0.8


def test_features_keep_their_names_and_order() -> None:
    ranker, _ = fit_ranker(decisions(0), decisions(1), CONFIG)
    assert ranker.feature_names == NAMES


def test_training_stops_early_and_tells_its_curve() -> None:
    ranker, seen = fit_ranker(decisions(0), decisions(1), CONFIG)
    rounds = [step for step, _ in seen["curve"]]
    scores = [score for _, score in seen["curve"]]
    assert rounds == list(range(1, len(rounds) + 1))
    assert len(rounds) <= CONFIG.ranker.num_trees
    assert seen["num_trees"] == 1 + int(np.argmax(scores))
    assert scores[seen["num_trees"] - 1] > 0.9
    assert len(ranker.thresholds()[TELLING]) > 0


def test_the_same_decisions_give_the_same_ranker() -> None:
    first, _ = fit_ranker(decisions(0), decisions(1), CONFIG)
    second, _ = fit_ranker(decisions(0), decisions(1), CONFIG)
    rows = decisions(2).matrix
    assert np.array_equal(first.scores(rows), second.scores(rows))


def test_missing_values_are_no_trouble() -> None:
    train = decisions(0)
    train.matrix[::3, 5] = np.nan
    ranker, _ = fit_ranker(train, decisions(1), CONFIG)
    assert np.isfinite(ranker.scores(train.matrix)).all()


@pytest.mark.parametrize("empty_train", [True, False])
def test_windows_without_a_positive_are_refused_with_what_to_do(empty_train: bool) -> None:
    train, validation = decisions(0), decisions(1)
    if empty_train:
        train = without_positives(train)
    else:
        validation = without_positives(validation)
    with pytest.raises(DataError, match=r"ranker\.label_window"):
        fit_ranker(train, validation, CONFIG)


def test_canary_rows_are_spread_over_all_decisions() -> None:
    given = decisions(0, 20)
    rows = canary_rows(given, 4)
    assert np.array_equal(rows, given.matrix[[0, 79, 159, 239]])
    assert canary_rows(decisions(0, 1, 3)).shape == (32, len(NAMES))


def directions(ranker: Ranker, feature: int, rows: np.ndarray) -> set[float]:
    """Signs of the steps that the score takes while one feature of the rows grows."""
    grown = np.repeat(rows[:, None], 41, axis=1)
    grown[:, :, feature] = np.linspace(-4, 4, 41)
    scores = ranker.scores(grown.reshape(-1, rows.shape[1])).reshape(len(rows), 41)
    return set(np.sign(np.diff(scores, axis=1)).ravel().tolist())


@pytest.mark.parametrize("direction", [1, -1])
def test_a_score_never_moves_in_a_forbidden_direction(direction: Literal[-1, 1]) -> None:
    loose = CONFIG.ranker.model_copy(update={"feature_fraction": 1.0, "l2": 0.0})
    free, _ = fit_ranker(decisions(0), decisions(1), CONFIG.model_copy(update={"ranker": loose}))
    rows = decisions(2, num_queries=3).matrix
    assert 1.0 in directions(free, TELLING, rows)
    wanted = loose.model_copy(update={"monotone": {NAMES[TELLING]: direction}})
    bound, _ = fit_ranker(decisions(0), decisions(1), CONFIG.model_copy(update={"ranker": wanted}))
    assert directions(bound, TELLING, rows) <= {0.0, float(direction)}


def test_directions_are_in_column_order_and_an_unknown_feature_is_refused() -> None:
    ranker = RankerConfig(monotone={NAMES[2]: -1, NAMES[0]: 1, NAMES[1]: 0})
    assert monotone_constraints(Config(ranker=ranker)) == [1, 0, -1, *[0] * (len(NAMES) - 3)]
    assert monotone_constraints(Config()) == [0] * len(NAMES)
    with pytest.raises(ConfigError, match="do not exist: price_sense; there are: "):
        monotone_constraints(Config(ranker=RankerConfig(monotone={"price_sense": 1})))


SHOWN = sorted(names_of_families(CONFIG.state, ("shown",)))


def test_an_anchored_plan_splits_on_its_families_alone() -> None:
    train, validation = decisions(0), decisions(1)
    ranker, seen = fit_ranker(train, validation, CONFIG, plans=("anchored",))
    assert seen["plan"] == "anchored"
    assert {name for name, gain in ranker.gain().items() if gain} <= set(SHOWN)


def test_an_anchored_plan_starts_from_its_anchor_and_explains_itself_exactly() -> None:
    ranker, _ = fit_ranker(decisions(0), decisions(1), CONFIG, settled=Settled("anchored", 1))
    rows = decisions(2).matrix
    anchor = 2.5 * rows[:, NAMES.index("appeal")].astype(np.float64)
    assert np.abs(ranker.scores(rows) - anchor).std() < 0.1 * anchor.std()
    contributions = ranker.contributions(rows)
    np.testing.assert_allclose(contributions.sum(1), ranker.scores(rows), rtol=1e-6, atol=1e-6)


def test_an_anchor_without_values_leaves_the_rest_to_the_forest() -> None:
    train, validation = decisions(0), decisions(1)
    for found in (train, validation):
        found.matrix[:, NAMES.index("appeal")] = np.nan
    ranker, _ = fit_ranker(train, validation, CONFIG, plans=("anchored",))
    assert np.isfinite(ranker.scores(train.matrix)).all()


def telling(seed: int, name: str) -> Decisions:
    """A few decisions that follow a feature of this name, loosely: half of the labels are drawn anew."""
    found = decisions(seed, num_queries=40)
    random = np.random.default_rng(seed)
    for group in found.labels.reshape(-1, 12)[::2]:
        random.shuffle(group)
    column = NAMES.index(name)
    found.matrix[:, [TELLING, column]] = found.matrix[:, [column, TELLING]]
    return found


@pytest.mark.parametrize(("name", "plan"), [(NAMES[TELLING], "whole"), ("appeal", "anchored")])
def test_the_plan_that_does_better_on_the_last_window_is_taken(name: str, plan: str) -> None:
    few = CONFIG.model_copy(update={"ranker": CONFIG.ranker.model_copy(update={"num_trees": 5})})
    _, seen = fit_ranker(telling(0, name), telling(1, name), few, plans=("anchored", "whole"))
    assert seen["plan"] == plan


def test_a_decisions_quality_is_what_the_search_reports_as_a_mean() -> None:
    train, validation = decisions(0), decisions(1)
    for plan in PLANS.values():
        found = search_num_trees(train, validation, CONFIG, plan=plan)
        assert found.by_decision.mean() == pytest.approx(max(found.curve), abs=1e-6)


def test_what_is_settled_is_not_searched_for() -> None:
    ranker, seen = fit_ranker(decisions(0), decisions(1), CONFIG, settled=Settled("anchored", 3))
    assert (seen["plan"], seen["num_trees"], seen["curve"]) == ("anchored", 3, [])
    assert {name for name, gain in ranker.gain().items() if gain} <= set(SHOWN)


def test_both_losses_add_up_in_one_ranker() -> None:
    train, validation = decisions(0), decisions(1)
    both, seen = fit_ranker(train, validation, CONFIG)
    ordered, _ = fit_ranker(train, validation, CONFIG, settled=Settled("unbiased", seen["num_trees"]))
    rows = decisions(2).matrix
    rest = both.scores(rows) - ordered.scores(rows)
    assert rest.std() > 0.5 * ordered.scores(rows).std()
    contributions = both.contributions(rows)
    np.testing.assert_allclose(contributions.sum(1), both.scores(rows), rtol=1e-6, atol=1e-6)
