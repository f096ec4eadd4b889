import numpy as np
import pytest
import torch

from recsys.interest import InterestTower
from recsys.moment import Moment
from recsys.neighbours import Neighbours
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
    vector = InterestTower.of(PARTS.user_tower).vector(PARTS.index, nobody.user.recent)
    with torch.no_grad():
        PARTS.user_tower.mix.bias.zero_()
    np.testing.assert_allclose(vector, bias.numpy(), atol=1e-6)


def shopper() -> Moment:
    """Somebody whose history the tables were fitted on."""
    log = shopping(PARTS.catalogue)
    return moment_of(parts_without_encoder(log, CONFIG), log, "user-0")


def summed(table: Neighbours, weight_of: dict[int, float]) -> np.ndarray:
    """What a table says of every item, entry by entry."""
    found = np.zeros(len(table.starts) - 1)
    for item, weight in weight_of.items():
        for entry in range(table.starts[item], table.starts[item + 1]):
            found[table.targets[entry]] += weight * float(table.weights[entry])
    return found


def engagement_of(moment: Moment, half_life: int) -> dict[int, float]:
    values = moment.user.engagement[:, half_life].tolist()
    return dict(zip(moment.user.positions.tolist(), values, strict=True))


def test_recent_items_count_by_their_engagement_of_the_middle_half_life() -> None:
    moment = shopper()
    engagement = engagement_of(moment, 2)
    weight_of = {item: np.log1p(engagement[item]) for item in moment.user.recent.positions.tolist()}
    expected = summed(moment.parts.tables.co_occurrence, weight_of)
    assert expected.any()
    np.testing.assert_allclose(moment.together.dense(), expected, rtol=1e-6)


def test_what_follows_counts_by_the_steps_since() -> None:
    moment = shopper()
    recent = moment.user.recent
    steps = sorted(set(recent.last_ms.tolist()), reverse=True)
    assert len(steps) > 1
    weight_of = {
        item: 0.7 ** steps.index(last_ms)
        for item, last_ms in zip(recent.positions.tolist(), recent.last_ms.tolist(), strict=True)
    }
    expected = summed(moment.parts.tables.following, weight_of)
    assert expected.any()
    np.testing.assert_allclose(moment.following.dense(), expected, rtol=1e-6)


def test_ease_reads_the_whole_history_by_the_root_of_the_engagement() -> None:
    moment = shopper()
    for half_life, found in ((3, moment.ease), (2, moment.ease_recent)):
        weight_of = {item: np.sqrt(value) for item, value in engagement_of(moment, half_life).items()}
        expected = summed(moment.parts.tables.ease, weight_of)
        assert expected.any()
        np.testing.assert_allclose(found.dense(), expected, rtol=1e-6)


def test_taste_is_the_liking_for_a_category_times_the_share_of_its_first_timers() -> None:
    moment = shopper()
    parts, catalogue = moment.parts, moment.parts.catalogue
    codes, liked = catalogue.attribute_codes["category"], engagement_of(moment, 3)
    won = parts.tables.history.adoption[2].astype(np.float64)
    expected = [
        sum(value for item, value in liked.items() if codes[item] == code) * won[i] / won[codes == code].sum()
        if code >= 0
        else np.nan
        for i, code in enumerate(codes.tolist())
    ]
    np.testing.assert_allclose(moment.taste("category", np.arange(len(catalogue))), expected, rtol=1e-6)
    assert np.nanmax(moment.taste("category", np.arange(len(catalogue)))) > 0


def test_words_are_the_mean_of_the_recent_items_by_the_root_of_their_counts() -> None:
    moment = moment_of(PARTS, LOG, "ann")
    cherry, banana = PARTS.words.of_items(PARTS.catalogue.positions(["cherry", "banana"]))
    mean = cherry + np.sqrt(2) * banana
    np.testing.assert_allclose(moment.words_vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_nobody_has_no_words_and_no_neighbours() -> None:
    nobody = moment_of(PARTS, LOG, "nobody")
    assert not nobody.words_vector.any()
    for scores in (nobody.together, nobody.following, nobody.ease, nobody.ease_recent, nobody.als):
        assert scores.dense().tolist() == [0] * len(PARTS.catalogue)


def test_every_fitted_part_says_until_when() -> None:
    parts = ("encoder", "calibration", "co_occurrence", "following", "ease", "als", "history", "resemblance")
    assert PARTS.fitted_until() == dict.fromkeys(parts, NOW)
