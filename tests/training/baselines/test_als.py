import numpy as np
import polars as pl
import pytest

from tests.training.baselines.small_log import items_of, log_of
from training.baselines.als import Als
from training.baselines.interactions import Interactions


@pytest.fixture
def two_tastes() -> Interactions:
    """Two groups of users and items; each user lacks one item of the own group."""
    return log_of(
        *(
            (f"{group}{user}", f"{group}-{item}", 1)
            for group in "ab"
            for user in range(6)
            for item in range(6)
            if item != user
        )
    )


def test_two_factors_find_the_two_tastes(two_tastes: Interactions) -> None:
    fitted = Als(num_factors=2, regularization=0.1).fit(two_tastes)
    users = pl.Series(two_tastes.users)
    found = fitted.lists(users, 1, novel=True)
    assert [items_of(found, user) for user in users] == [[f"{user[0]}-{user[1]}"] for user in users]
    scores = fitted.score(np.arange(12)).core
    assert scores[:6, :6].min() > scores[:6, 6:].max() + 0.5


def test_the_seed_decides(two_tastes: Interactions) -> None:
    first, again, other = (
        Als(num_factors=2, seed=seed).fit(log).score(np.arange(12)).core
        for seed, log in ((1, two_tastes), (1, log_like(two_tastes)), (2, two_tastes))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def log_like(log: Interactions) -> Interactions:
    return Interactions(log.events, log.as_of_ms)
