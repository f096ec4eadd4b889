import numpy as np
import pytest
import torch

from recsys.moment import interest_vector
from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import NOW, Event, moment_of, parts_without_encoder, shopping, small_config

CONFIG = small_config()
LOG: list[Event] = [
    ("ann", "banana", "purchase", NOW - 9 * DAY_MS),
    ("ann", "cherry", "view", NOW - 2 * DAY_MS),
    ("ann", "banana", "purchase", NOW - 4 * DAY_MS),
]
PARTS = parts_without_encoder(LOG, CONFIG)


def test_the_interest_vector_is_the_user_towers() -> None:
    moment = moment_of(PARTS, LOG, "ann")
    items = PARTS.catalogue.positions(["cherry", "banana"])  # newest first
    with torch.no_grad():
        expected = PARTS.user_tower(
            torch.from_numpy(PARTS.index.of_items(items))[None],
            torch.tensor([[1, 4]]),  # view and purchase
            torch.tensor([[0.0, 2.0]]),  # days before the latest event
            torch.tensor([[1.0, 2.0]]),
            torch.ones(1, 2, dtype=torch.bool),
        )[0]
    np.testing.assert_allclose(moment.user_vector, expected.numpy(), atol=1e-6)
    assert np.linalg.norm(moment.user_vector) == pytest.approx(1, abs=1e-5)


def test_the_interest_vector_changes_with_events_alone() -> None:
    now, later = moment_of(PARTS, LOG, "ann"), moment_of(PARTS, LOG, "ann", NOW + 30 * DAY_MS)
    assert np.array_equal(now.user_vector, later.user_vector)
    more = [*LOG, ("ann", "leek", "purchase", NOW - 1)]
    assert not np.allclose(moment_of(PARTS, more, "ann").user_vector, now.user_vector, atol=1e-3)


def test_nobody_has_the_shared_unit_vector() -> None:
    bias = torch.nn.functional.normalize(torch.ones(8), dim=0)
    with torch.no_grad():
        PARTS.user_tower.mix.bias.copy_(bias)
    nobody = moment_of(PARTS, LOG, "nobody")
    vector = interest_vector(PARTS.user_tower, PARTS.index, nobody.user.recent)
    with torch.no_grad():
        PARTS.user_tower.mix.bias.zero_()
    np.testing.assert_allclose(vector, bias.numpy(), atol=1e-6)


def test_recent_items_count_by_their_engagement_of_the_middle_half_life() -> None:
    log = shopping(PARTS.catalogue)
    parts = parts_without_encoder(log, CONFIG)
    moment = moment_of(parts, log, "user-0")
    positions, scores = moment.co_occurrence
    expected = np.zeros(len(parts.catalogue))
    engagement = dict(zip(moment.user.positions.tolist(), moment.user.engagement[:, 1].tolist(), strict=True))
    for item in moment.user.recent.positions.tolist():
        neighbours, weights = parts.co_occurrence.neighbours[item], parts.co_occurrence.weights[item]
        for neighbour, weight in zip(neighbours.tolist(), weights.tolist(), strict=True):
            if neighbour >= 0:
                expected[neighbour] += weight * np.log1p(engagement[item])
    assert len(positions) > 0
    assert positions.tolist() == np.flatnonzero(expected).tolist()
    np.testing.assert_allclose(scores, expected[positions], rtol=1e-6)


def test_every_fitted_part_says_until_when() -> None:
    parts = ("encoder", "co_occurrence", "adoption", "calibration")
    assert PARTS.fitted_until() == dict.fromkeys(parts, NOW)
