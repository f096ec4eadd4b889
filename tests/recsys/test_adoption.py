import numpy as np
import pytest

from recsys.adoption import Adoption, fit_adoption
from recsys.config import StateConfig
from recsys.schema import DAY_MS
from tests.recsys.small_catalogue import NOW, Event, events_frame, greengrocer

CATALOGUE = greengrocer()
CONFIG = StateConfig(half_lives_days=(1.0, 4.0))
LEEK, BEET = CATALOGUE.positions(["leek", "beet"])


def fit(*events: Event, until_ms: int = NOW) -> Adoption:
    return fit_adoption(events_frame(events), CATALOGUE, CONFIG, until_ms)


def test_only_a_users_first_event_with_an_item_counts_decayed_by_its_age() -> None:
    found = fit(
        ("ann", "leek", "purchase", NOW - 2 * DAY_MS),
        ("ann", "leek", "purchase", NOW - 1 * DAY_MS),
        ("bob", "leek", "view", NOW - 4 * DAY_MS),
    )
    assert found.rates[:, LEEK].tolist() == pytest.approx([1 / 4 + 1 / 16, 2**-0.5 + 1 / 2])
    assert np.count_nonzero(found.rates) == 2
    assert found.fitted_until_ms == NOW


def test_dislikes_impressions_and_unknown_items_do_not_count() -> None:
    past = NOW - DAY_MS
    found = fit(
        ("a", "leek", "dislike", past), ("a", "leek", "impression", past), ("a", "gone", "view", past)
    )
    assert not found.rates.any()


def test_events_at_or_after_the_end_are_not_seen() -> None:
    found = fit(("ann", "leek", "purchase", NOW), ("bob", "beet", "purchase", NOW - 1))
    assert found.rates[:, LEEK].tolist() == [0.0, 0.0]
    assert found.rates[:, BEET].tolist() == pytest.approx([1.0, 1.0])


def test_an_empty_log_gives_zeros() -> None:
    found = fit()
    assert found.rates.shape == (2, len(CATALOGUE))
    assert found.rates.dtype == np.float32
    assert not found.rates.any()
