"""Estimators of lists against loops over slots, and against the truth by enumerating every list."""

from itertools import permutations, product

import numpy as np
import pytest

from recsys.experiments.slate import (
    SlateLog,
    cascade_dr,
    independent,
    reward_interaction,
    slate_estimators,
    standard,
)


def some_slates(num_lists: int = 200, num_slots: int = 3) -> SlateLog:
    random = np.random.default_rng(0)
    ratio, marginal, q_logged, q_target = random.uniform(0.2, 2, (4, num_lists, num_slots))
    reward = random.normal(1, 1, (num_lists, num_slots))
    return SlateLog(reward, ratio, np.arange(num_lists), marginal, q_logged, q_target)


def test_every_estimator_is_its_formula() -> None:
    log = some_slates()
    assert log.marginal_ratio is not None
    assert log.q_logged is not None
    assert log.q_target is not None
    n, num_slots = log.reward.shape
    expected = dict.fromkeys(("standard", "independent", "reward_interaction", "cascade_dr"), 0.0)
    for i in range(n):
        above = 1.0
        for at in range(num_slots):
            down_to = above * log.ratio[i, at]
            expected["independent"] += log.marginal_ratio[i, at] * log.reward[i, at] / n
            expected["reward_interaction"] += down_to * log.reward[i, at] / n
            residual = log.reward[i, at] - log.q_logged[i, at]
            expected["cascade_dr"] += (down_to * residual + above * log.q_target[i, at]) / n
            above = down_to
        expected["standard"] += above * sum(log.reward[i]) / n
    found = {name: ratio.estimate for name, ratio in slate_estimators(log).items() if ratio is not None}
    assert found == pytest.approx(expected, rel=1e-9)


def luce(scores: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Propensity of each slot's item given those above, drawn without replacement by ``exp(score)``."""
    weights = np.exp(scores)
    return np.asarray(
        [
            weights[a] / weights[[b for b in range(len(scores)) if b not in order[:at]]].sum()
            for at, a in enumerate(order)
        ]
    )


def test_in_expectation_over_every_list_each_estimator_is_exact_where_its_assumption_holds() -> None:
    logging, target = np.asarray([0.5, 0.0, -0.5, 0.3]), np.asarray([-0.4, 0.6, 0.2, 0.0])
    click = np.asarray([0.9, 0.5, 0.3, 0.1])
    lists = list(permutations(range(4), 2))
    chance, ratios, rewards, q_logged, q_target = [], [], [], [], []
    marginal: dict[tuple[int, int], list[float]] = {}
    for order in lists:
        served, wanted = luce(logging, order), luce(target, order)
        chance.append(served.prod())
        ratios.append(wanted / served)
        rewards.append(click[list(order)])  # each slot's reward is its item's alone
        q_logged.append(np.asarray([0.2 * a for a in order]))  # a wrong model changes nothing
        q_target.append(
            np.asarray(
                [
                    sum(luce(target, (*order[:at], a))[at] * 0.2 * a for a in range(4) if a not in order[:at])
                    for at in range(2)
                ]
            )
        )
        for at, a in enumerate(order):
            both = marginal.setdefault((at, a), [0.0, 0.0])
            both[0] += served.prod()
            both[1] += wanted.prod()
    ratio_of_marginals = [
        [marginal[at, a][1] / marginal[at, a][0] for at, a in enumerate(order)] for order in lists
    ]
    true = sum(luce(target, order).prod() * click[list(order)].sum() for order in lists)
    log = SlateLog(
        np.asarray(rewards),
        np.asarray(ratios),
        np.arange(len(lists)),
        np.asarray(ratio_of_marginals),
        np.asarray(q_logged),
        np.asarray(q_target),
    )
    for ratio in (standard(log), independent(log), reward_interaction(log), cascade_dr(log)):
        assert ratio is not None
        assert float(np.asarray(chance) @ ratio.numerator) == pytest.approx(true, rel=1e-9)


def test_empty_slots_of_shorter_lists_add_nothing() -> None:
    log = some_slates()
    assert log.marginal_ratio is not None
    assert log.q_logged is not None
    assert log.q_target is not None

    def longer(matrix: np.ndarray, empty: float) -> np.ndarray:
        return np.hstack([matrix, np.full((len(matrix), 2), empty)])

    padded = SlateLog(
        longer(log.reward, 0),
        longer(log.ratio, 1),
        log.cluster,
        longer(log.marginal_ratio, 1),
        longer(log.q_logged, 0),
        longer(log.q_target, 0),
    )
    for one, other in zip(slate_estimators(log).values(), slate_estimators(padded).values(), strict=True):
        assert one is not None
        assert other is not None
        assert one.estimate == pytest.approx(other.estimate, rel=1e-12)


def test_a_perfect_model_of_what_follows_leaves_no_variance() -> None:
    """Rewards without noise, values of the slots from here on: every list alone says the truth."""
    logging, target = np.asarray([0.5, 0.0, -0.5]), np.asarray([-0.4, 0.6, 0.2])
    click = np.asarray([0.9, 0.5, 0.3])

    def value(prefix: tuple[int, ...]) -> float:
        if len(prefix) == 2:
            return 0.0
        left = [a for a in range(3) if a not in prefix]
        return float(
            sum(luce(target, (*prefix, a))[len(prefix)] * (click[a] + value((*prefix, a))) for a in left)
        )

    orders = [order for order in product(range(3), repeat=2) if len(set(order)) == 2]
    log = SlateLog(
        np.asarray([click[list(order)] for order in orders]),
        np.asarray([luce(target, order) / luce(logging, order) for order in orders]),
        np.arange(len(orders)),
        None,
        np.asarray([[click[a] + value(order[: at + 1]) for at, a in enumerate(order)] for order in orders]),
        np.asarray([[value(order[:at]) for at in range(2)] for order in orders]),
    )
    found = cascade_dr(log)
    assert found is not None
    assert found.numerator == pytest.approx(value(()), rel=1e-9)
    assert independent(log) is None
