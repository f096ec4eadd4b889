import numpy as np
import pytest

from recsys.als import AlsSettings, ItemFactors, fit_als
from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.schema import DAY_MS, ITEM_ID
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame

ITEMS = "abcdef"
CATALOGUE = Catalogue(items_frame(*({ITEM_ID: item_id} for item_id in ITEMS)))
CONFIG = StateConfig(half_lives_days=(1.0, 4.0, 16.0))
SETTINGS = AlsSettings(dimension=2, regularisation=0.5, seed=1)


def two_crowds() -> list[Event]:
    """Eight people of whom half have a, b and c, half d, e and f, but each lacks one of them."""
    return [
        (f"user-{user}", item_id, "purchase", NOW - DAY_MS)
        for user in range(8)
        for i, item_id in enumerate("abc" if user % 2 else "def")
        if user // 2 % 4 != i
    ]


def fit(events: list[Event]) -> ItemFactors:
    return fit_als(events_frame(events), CATALOGUE, CONFIG, NOW, SETTINGS)


def score(factors: ItemFactors, history: str, engagement: float = 1.0) -> dict[str, float]:
    positions = CATALOGUE.positions(list(history))
    mine = factors.user_vector(positions, np.full(len(positions), engagement))
    return dict(zip(ITEMS, factors.scores(mine, len(CATALOGUE)).dense().tolist(), strict=True))


def test_a_user_meets_what_the_own_crowd_has() -> None:
    scores = score(fit(two_crowds()), "ab")
    assert scores["c"] > 0.5
    assert max(scores["d"], scores["e"], scores["f"]) < 0.2


def test_a_users_factors_minimise_the_weighted_squares() -> None:
    factors = fit(two_crowds())
    engagement = np.asarray([2.0, 0.25])
    found = factors.user_vector(CATALOGUE.positions(["a", "e"]), engagement)
    confidence, had = np.ones(len(factors.items)), np.zeros(len(factors.items))
    for item_id, value in zip("ae", engagement, strict=True):
        row = factors.items.tolist().index(CATALOGUE.position[item_id])
        confidence[row], had[row] = 1 + value, 1

    def loss(user: np.ndarray) -> float:
        squares = confidence * (had - factors.vectors.astype(float) @ user) ** 2
        return float(squares.sum() + SETTINGS.regularisation * (user**2).sum())

    for step in np.vstack([np.eye(2), -np.eye(2)]) * 1e-3:
        assert loss(found) < loss(found + step)


def test_items_of_fewer_than_three_people_have_no_factors() -> None:
    rare: list[Event] = [("user-1", "f", "purchase", NOW - 1), ("user-3", "f", "purchase", NOW - 1)]
    factors = fit([event for event in two_crowds() if event[1] != "f"] + rare)
    assert [ITEMS[item] for item in factors.items] == list("abcde")
    assert score(factors, "a")["f"] == 0
    assert score(factors, "f") == dict.fromkeys(ITEMS, 0.0)


@pytest.mark.parametrize("history", ["", "a"])
def test_nothing_fits_nothing(history: str) -> None:
    assert set(score(fit([]), history).values()) == {0.0}


def test_what_weighs_nothing_says_nothing() -> None:
    assert set(score(fit(two_crowds()), "ab", engagement=0.0).values()) == {0.0}


def test_events_from_the_end_of_the_data_on_are_not_seen() -> None:
    ours = fit(two_crowds())
    theirs = fit([*two_crowds(), *((f"user-{i}", "a", "purchase", NOW) for i in range(8))])
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


def test_equal_data_and_seed_give_equal_factors() -> None:
    np.testing.assert_array_equal(fit(two_crowds()).vectors, fit(two_crowds()).vectors)
