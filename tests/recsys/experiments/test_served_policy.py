"""Lists drawn by one policy, judged for another whose value is known."""

import numpy as np
import pytest

from recsys.experiments.served_policy import RescoredList, compare_served, rescored_log

ITEMS = ("u", "v", "w", "x", "y", "z")
CLICK = np.asarray([0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
SLOTS, TEMPERATURE = 2, 0.7


def drawn(random: np.random.Generator, scores: np.ndarray) -> tuple[list[int], list[float]]:
    """Items slot by slot, each by ``exp(score / temperature)`` among those left, and how likely that was."""
    weight, order, propensities = np.exp(scores / TEMPERATURE), [], []
    for _ in range(SLOTS):
        chance = weight / weight.sum()
        order.append(int(random.choice(len(chance), p=chance)))
        propensities.append(float(chance[order[-1]]))
        weight[order[-1]] = 0
    return order, propensities


def served(num_lists: int, other: np.ndarray, seed: int = 0) -> list[RescoredList]:
    random = np.random.default_rng(seed)
    lists = []
    for number in range(num_lists):
        order, propensities = drawn(random, np.zeros(len(ITEMS)))
        rewards = (random.random(SLOTS) < CLICK[order]).astype(float).tolist()
        items = [ITEMS[at] for at in order]
        lists.append(RescoredList(f"user {number // 2}", items, propensities, rewards, ITEMS, other.tolist()))
    return lists


def value(scores: np.ndarray) -> float:
    """Expected clicks on a list that is drawn by the scores."""
    weight = np.exp(scores / TEMPERATURE)
    total = 0.0
    for first, chance in enumerate(weight / weight.sum()):
        left = weight.copy()
        left[first] = 0
        total += chance * (CLICK[first] + float(left @ CLICK) / left.sum())
    return float(total)


@pytest.mark.parametrize(("other", "better"), [(CLICK * 2, True), (-CLICK * 2, False)])
def test_a_better_and_a_worse_model_are_told_apart(other: np.ndarray, better: bool) -> None:
    found = compare_served(served(6_000, other), TEMPERATURE, SLOTS)
    assert found.reasons == []
    true = value(other) - value(np.zeros(len(ITEMS)))
    assert found.difference.low < true < found.difference.high
    assert (found.difference.low > 0) is better
    assert (found.difference.high < 0) is not better
    assert (found.num_lists, found.num_users) == (6_000, 3_000)


def test_the_model_that_served_differs_from_itself_by_nothing() -> None:
    found = compare_served(served(2_000, np.zeros(len(ITEMS))), TEMPERATURE, SLOTS)
    assert found.difference.estimate == pytest.approx(0, abs=0.01)
    assert found.diagnosis.mean_weight == pytest.approx(1.0)
    assert found.reasons == []


def test_propensities_and_values_are_those_of_plackett_and_luce() -> None:
    scores = [0.7, 0.0, -0.7]  # over the temperature: 1, 0, -1
    one = RescoredList("a", ["y", "x"], [0.5, 0.25], [1.0, 0.0], ["x", "y", "z"], scores)
    log = rescored_log([one] * 4, TEMPERATURE, 3)
    e = np.e
    assert log.ratio[0].tolist() == pytest.approx([1 / (e + 1 + 1 / e) / 0.5, e / (e + 1 / e) / 0.25, 1.0])
    assert log.reward[0].tolist() == [1.0, 0.0, 0.0]
    assert log.q_target is not None
    assert log.q_target[0, 2] == 0  # there is no third slot


def test_what_the_other_model_would_not_offer_it_would_not_have_served() -> None:
    one = RescoredList("a", ["x", "q"], [0.5, 0.5], [0.0, 0.0], ["x", "y"], [1.0, 1.0])
    assert rescored_log([one], TEMPERATURE, 2).ratio.tolist() == [[1.0, 0.0]]
    nothing = RescoredList("a", ["x"], [0.5], [1.0], [], [])
    assert rescored_log([nothing], TEMPERATURE, 1).ratio.tolist() == [[0.0]]
    assert "could have served 0.000" in " ".join(compare_served([nothing] * 3, TEMPERATURE, 1).reasons)
