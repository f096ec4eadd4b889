import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.ease import EaseSettings, fit_ease
from recsys.neighbours import Neighbours
from recsys.schema import DAY_MS, ITEM_ID
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame

ITEMS = "abcdef"
CATALOGUE = Catalogue(items_frame(*({ITEM_ID: item_id} for item_id in ITEMS)))
CONFIG = StateConfig(half_lives_days=(1.0, 4.0, 16.0))
EVERYTHING = EaseSettings(num_neighbours=10, max_items=100, regularisation=2.0)


def fit(events: list[Event], settings: EaseSettings = EVERYTHING, until_ms: int = NOW) -> Neighbours:
    return fit_ease(events_frame(events), CATALOGUE, CONFIG, until_ms, settings)


def dense(table: Neighbours) -> np.ndarray:
    """Source by target."""
    matrix = np.zeros((len(ITEMS), len(ITEMS)))
    sources = np.repeat(np.arange(len(ITEMS)), np.diff(table.starts))
    matrix[sources, table.targets] = table.weights
    return matrix


def purchases(matrix: np.ndarray) -> list[Event]:
    """A log that EASE reads as this matrix of users by items: so many purchases just before ``NOW``."""
    return [
        (f"user-{user:02}", ITEMS[item], "purchase", NOW - 1)
        for user, item in np.argwhere(matrix > 0)
        for _ in range(round(matrix[user, item] ** 2))
    ]


def some_matrix(num_users: int, seed: int = 3) -> np.ndarray:
    """Roots of the numbers of purchases; nobody without one, no item without one."""
    counts = np.random.default_rng(seed).choice([0, 0, 1, 2], (num_users, len(ITEMS)))
    counts[np.arange(num_users), np.arange(num_users) % len(ITEMS)] = 1
    counts[0] = np.maximum(counts[0], 1)
    roots: np.ndarray = np.sqrt(counts)
    return roots


def ridge_without_self(matrix: np.ndarray, penalty: float) -> np.ndarray:
    """Each column by ridge regression on the other columns, one after the other."""
    num = matrix.shape[1]
    weights = np.zeros((num, num))
    for target in range(num):
        rest = [i for i in range(num) if i != target]
        gram = matrix[:, rest].T @ matrix[:, rest] + penalty * np.eye(num - 1)
        weights[rest, target] = np.linalg.solve(gram, matrix[:, rest].T @ matrix[:, target])
    return weights


def test_two_items_have_the_weight_of_a_ridge_regression_on_one_another() -> None:
    both = [(f"u{i}", item_id, "purchase", NOW - 1) for i in range(3) for item_id in "ab"]
    found = dense(fit([*both, ("u3", "a", "purchase", NOW - 1)]))
    # b by a: 3 meetings over 4 squares of a and a penalty of 2; a by b: over 3 squares and the penalty
    assert found[0, 1] == pytest.approx(3 / (4 + 2), rel=1e-5)
    assert found[1, 0] == pytest.approx(3 / (3 + 2), rel=1e-5)


@pytest.mark.parametrize("num_users", [4, 12], ids=["fewer users than items", "more users than items"])
def test_it_is_the_ridge_solution_with_a_zero_diagonal(num_users: int) -> None:
    matrix = some_matrix(num_users)
    expected = ridge_without_self(matrix, EVERYTHING.regularisation)
    found = dense(fit(purchases(matrix)))
    np.testing.assert_allclose(found, expected.clip(min=0), atol=1e-5)
    assert (expected < 0).any()  # which say nothing
    assert not np.diagonal(found).any()


@pytest.mark.parametrize("num_users", [4, 12], ids=["fewer users than items", "more users than items"])
def test_of_each_column_the_largest_weights_are_kept(num_users: int) -> None:
    matrix = some_matrix(num_users)
    whole = dense(fit(purchases(matrix)))
    found = dense(fit(purchases(matrix), EaseSettings(2, 100, EVERYTHING.regularisation)))
    for target in range(len(ITEMS)):
        largest = np.sort(whole[:, target])[-2:]
        kept = found[:, target][found[:, target] > 0]
        assert sorted(kept.tolist()) == pytest.approx(largest[largest > 0].tolist(), rel=1e-5)


def test_both_sides_of_the_inverse_say_the_same() -> None:
    few = some_matrix(5)
    silent = [(f"stranger-{i}", "gone", "purchase", NOW - 1) for i in range(9)]  # more users, who say nothing
    by_user, by_item = fit(purchases(few)), fit([*purchases(few), *silent])
    np.testing.assert_allclose(dense(by_user), dense(by_item), atol=1e-6)


def test_only_the_most_engaging_items_take_part() -> None:
    events = [
        (f"u{i}", item_id, "purchase", NOW - 1)
        for i, items in enumerate(("ab", "abc", "abcd"))
        for item_id in items
    ]
    found = dense(fit(events, EaseSettings(10, 2, 1.0)))
    assert {(i, j) for i, j in np.argwhere(found > 0).tolist()} == {(0, 1), (1, 0)}
    assert found[0, 1] == pytest.approx(3 / (3 + 1), rel=1e-5)


def test_engagement_decays_with_the_middle_half_life_and_types_are_weighted() -> None:
    events: list[Event] = [
        ("u", "a", "purchase", NOW - 8 * DAY_MS),  # two half-lives of four days
        ("u", "b", "like", NOW - 4 * DAY_MS),  # 0.5, one half-life
    ]
    found = dense(fit(events))
    # both engagements are 1/4, their roots 1/2: 1/4 together, over 1/4 and the penalty
    assert found[0, 1] == pytest.approx(0.25 / (0.25 + 2), rel=1e-5)


def test_dislikes_impressions_unknown_items_and_the_future_do_not_count() -> None:
    past = purchases(some_matrix(8))
    strange: list[Event] = [
        ("user-00", "b", "dislike", NOW - 1),
        ("user-00", "b", "impression", NOW - 1),
        ("user-00", "gone", "purchase", NOW - 1),
        *((f"user-0{i}", item_id, "purchase", NOW + i) for i in range(8) for item_id in ITEMS),
    ]
    np.testing.assert_array_equal(dense(fit([*past, *strange])), dense(fit(past)))
    assert fit(past).fitted_until_ms == NOW


@pytest.mark.parametrize(
    "events", [[], [("u", "a", "purchase", NOW - 1)], [("u", "gone", "purchase", NOW - 1)]]
)
def test_without_two_items_nothing_speaks_for_anything(events: list[Event]) -> None:
    found = fit(events)
    assert len(found.weights) == 0
    assert found.scores(np.asarray([0]), np.ones(1)).dense().tolist() == [0] * len(ITEMS)
