import numpy as np
import polars as pl
import pytest

from recsys.catalogue import Catalogue
from recsys.config import StateConfig
from recsys.item_history import ItemHistory, fit_item_history
from recsys.schema import DAY_MS, ITEM_ID, PRICE
from tests.recsys.small_catalogue import NOW, Event, events_frame, items_frame

CATALOGUE = Catalogue(
    items_frame({ITEM_ID: "a", PRICE: 9.0}, {ITEM_ID: "b"}, {ITEM_ID: "c", PRICE: 7.0}, {ITEM_ID: "d"})
)
CONFIG = StateConfig(half_lives_days=(1.0, 4.0))
A, B, C, D = range(4)


def fit(*events: Event, prices: list[float | None] | None = None, until_ms: int = NOW) -> ItemHistory:
    log = events_frame(events)
    if prices is not None:
        log = log.with_columns(pl.Series(PRICE, prices, pl.Float64))
    return fit_item_history(log, CATALOGUE, CONFIG, until_ms)


def bought(user_id: str, item_id: str, *ages_days: float) -> list[Event]:
    return [(user_id, item_id, "purchase", NOW - round(age * DAY_MS)) for age in ages_days]


def test_only_a_users_first_event_with_an_item_counts_decayed_by_its_age() -> None:
    found = fit(*bought("ann", "b", 2, 1), ("bob", "b", "view", NOW - 4 * DAY_MS))
    assert found.adoption[:, B].tolist() == pytest.approx([1 / 4 + 1 / 16, 2**-0.5 + 1 / 2])
    assert np.count_nonzero(found.adoption) == 2
    assert found.users.tolist() == [0, 2, 0, 0]
    assert found.fitted_until_ms == NOW


def test_a_newcomers_item_is_one_of_the_users_very_first_time() -> None:
    found = fit(
        *bought("ann", "a", 4),
        *bought("ann", "b", 4),  # the same basket
        *bought("ann", "c", 2),
        *bought("bob", "c", 1),
        *bought("bob", "a", 0.5),
    )
    assert found.newcomers[1].tolist() == pytest.approx([1 / 2, 1 / 2, 2**-0.25, 0])
    assert found.newcomers[0].tolist() == pytest.approx([1 / 16, 1 / 16, 1 / 2, 0])
    assert found.adoption[0, C] == pytest.approx(1 / 4 + 1 / 2)


def test_the_first_event_of_an_item_is_anybodys() -> None:
    found = fit(*bought("ann", "a", 3), *bought("bob", "a", 5, 1))
    assert found.first_ms.tolist() == [NOW - 5 * DAY_MS, 0, 0, 0]


def test_the_rebuy_rate_is_shrunk_by_five_users_of_the_mean() -> None:
    events = [*bought("u0", "a", 3, 1), *bought("u1", "a", 2), *bought("u2", "b", 1), *bought("u3", "b", 1)]
    found = fit(*events)
    mean = 1 / 4  # one of four pairs of user and item
    assert found.rebuy_rate[A] == pytest.approx((1 + 5 * mean) / (2 + 5))
    assert found.rebuy_rate[B] == pytest.approx((0 + 5 * mean) / (2 + 5))
    assert np.isnan(found.rebuy_rate[[C, D]]).all()


def test_twice_at_one_time_is_not_coming_back() -> None:
    found = fit(*bought("u0", "a", 3, 3), *bought("u1", "b", 3, 2))
    assert found.rebuy_rate[A] < found.rebuy_rate[B]
    assert np.isnan(found.gap_days[A])


def test_the_gap_is_the_median_of_the_users_means() -> None:
    found = fit(
        *bought("u0", "a", 10, 7, 4),  # every 3 days
        *bought("u1", "a", 20, 10),  # every 10
        *bought("u2", "a", 9, 8, 5, 4, 1),  # every 2
        *bought("u3", "a", 1),
    )
    assert found.gap_days[A] == 3
    assert np.isnan(found.gap_days[[B, C, D]]).all()


def test_the_price_is_the_median_paid_else_the_catalogues() -> None:
    events = [*bought("ann", "a", 3, 2, 1), *bought("ann", "d", 1), *bought("ann", "c", 1)]
    found = fit(*events, prices=[2.0, 8.0, 3.0, 5.0, None])
    np.testing.assert_array_equal(found.price, np.asarray([3, np.nan, 7, 5], np.float32))
    np.testing.assert_allclose(found.recent_price, [13 / 3, np.nan, np.nan, 5], rtol=1e-6)


def test_recent_prices_are_the_last_five_whatever_the_order_of_the_log() -> None:
    events = bought("ann", "b", 1, 2, 3, 4, 5, 6, 7)
    found = fit(*events, prices=[1.0, 2.0, 3.0, 4.0, 5.0, 60.0, 70.0])
    assert found.recent_price[B] == 3
    assert found.price[B] == 4


def test_dislikes_impressions_and_unknown_items_do_not_count() -> None:
    past = NOW - DAY_MS
    found = fit(("u", "b", "dislike", past), ("u", "b", "impression", past), ("u", "gone", "view", past))
    assert not found.adoption.any()
    assert not found.users.any()
    later = fit(("u", "gone", "view", NOW - 3 * DAY_MS), *bought("u", "a", 1))
    assert later.newcomers[0, A] == 0.5  # what the shop no longer sells was not the first


def test_events_at_or_after_the_end_are_not_seen() -> None:
    past = bought("ann", "a", 3, 1)
    future = [("ann", "a", "purchase", NOW), ("bob", "b", "purchase", NOW + 1)]
    plain = fit(*past, prices=[2.0, 3.0])
    found = fit(*past, *future, prices=[2.0, 3.0, 50.0, 60.0])
    for name in ("adoption", "newcomers", "users", "first_ms", "rebuy_rate", "gap_days", "price"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    np.testing.assert_array_equal(found.recent_price, plain.recent_price)
    assert fit(*past, *future, until_ms=NOW + 2).users.tolist() == [1, 1, 0, 0]


def test_an_empty_log_knows_the_listed_prices_alone() -> None:
    found = fit()
    assert found.adoption.shape == found.newcomers.shape == (2, len(CATALOGUE))
    assert found.adoption.dtype == np.float32
    assert not found.adoption.any()
    assert np.isnan(found.rebuy_rate).all()
    np.testing.assert_array_equal(found.price, np.asarray([9, np.nan, 7, np.nan], np.float32))
