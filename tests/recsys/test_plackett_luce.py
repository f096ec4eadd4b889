"""Tests of lists that are drawn at random."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from recsys.config import SamplingConfig
from recsys.plackett_luce import draw, propensities, sampling_random

UTILITIES = np.asarray([1.0, 0.5, 0.0, -1.0])


def by_hand(order: tuple[int, ...], num_places: int) -> float:
    """Probability of the first places, straight from the definition."""
    weights, found = np.exp(UTILITIES), 1.0
    for place in range(num_places):
        found *= weights[order[place]] / weights[list(order[place:])].sum()
    return float(found)


def test_propensities_are_those_of_the_definition_and_sum_to_one() -> None:
    orders = list(permutations(range(4)))
    whole = [propensities(UTILITIES[list(order)], 4).prod() for order in orders]
    assert whole == pytest.approx([by_hand(order, 4) for order in orders], rel=1e-12)
    assert sum(whole) == pytest.approx(1, rel=1e-12)


def test_lists_come_as_often_as_their_propensity_says() -> None:
    random, num_draws = np.random.default_rng(3), 6_000
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(num_draws):
        found = draw(UTILITIES, 2, random)
        seen[tuple(found.order.tolist())] += 1
    pairs = list(permutations(range(4), 2))
    expected = [by_hand((*pair, *(set(range(4)) - set(pair))), 2) * num_draws for pair in pairs]
    assert stats.chisquare([seen[pair] for pair in pairs], expected).pvalue > 0.001


def test_utilities_far_apart_neither_overflow_nor_vanish() -> None:
    found = propensities(np.asarray([-1e6, 1e6, 0.0]), 3)
    assert found.tolist() == [0.0, 1.0, 1.0]
    assert propensities(np.zeros(1), 5).tolist() == [1.0]


def test_a_share_of_the_requests_is_drawn_and_equal_seeds_are_drawn_equally() -> None:
    config = SamplingConfig(share=0.2)
    drawn = [sampling_random(config, f"user {number}") for number in range(2000)]
    assert 320 < sum(each is not None for each in drawn) < 480
    one, other = (sampling_random(SamplingConfig(share=1.0), "x") for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.random() == other.random()
