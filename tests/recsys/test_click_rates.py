import numpy as np
import pytest

from recsys.click_rates import fit_click_rates

NO_NUMBERS = np.empty((2, 0))


def test_a_rate_is_shrunk_towards_that_of_all_items() -> None:
    rates = fit_click_rates(np.asarray([95.0, 100.0]), np.asarray([9.0, 30.0]), NO_NUMBERS)
    overall = (39 + 1) / (195 + 5)
    assert rates.overall == overall
    assert rates.expected.tolist() == [overall, overall]
    assert rates.rate.tolist() == pytest.approx([(9 + 20 * overall) / 115, (30 + 20 * overall) / 120])


def test_what_the_numbers_tell_stands_in_for_what_was_not_observed() -> None:
    numbers = np.asarray([[1.0], [-1.0], [2.0]])
    rates = fit_click_rates(np.asarray([100.0, 100, 0]), np.asarray([30.0, 10, 0]), numbers)
    # overall (40 + 1) / (200 + 5) = 0.2; slope (10 + 10) / (100 + 100 + 300) = 0.04
    assert rates.expected.tolist() == pytest.approx([0.24, 0.16, 0.28])
    assert rates.rate.tolist() == pytest.approx([(30 + 4.8) / 120, (10 + 3.2) / 120, 0.28])


def test_an_expectation_stays_near_the_overall_rate() -> None:
    numbers = np.asarray([[1.0], [-1.0], [50.0], [-50.0]])
    counts = np.asarray([100.0, 100, 0, 0])
    rates = fit_click_rates(counts, np.asarray([30.0, 10, 0, 0]), numbers)
    assert rates.expected[2:].tolist() == pytest.approx([0.8, 0.05])


def test_more_engagements_than_impressions_are_a_rate_below_one() -> None:
    rates = fit_click_rates(np.asarray([1e6, 10.0]), np.asarray([3e6, 0.0]), NO_NUMBERS)
    assert 0 < rates.rate[1] < rates.rate[0] < 1
