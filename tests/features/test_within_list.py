import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.within_list import share_above, standardised

SCORES = arrays(np.float64, st.integers(0, 12), elements=st.integers(-5, 5).map(float) | st.just(math.nan))


def test_a_score_is_put_in_standard_deviations_from_the_mean() -> None:
    # mean 2, variance (4 + 0 + 0 + 4) / 4 = 2
    assert standardised(np.asarray([0.0, 2, 2, 4])).tolist() == pytest.approx([-(2**0.5), 0, 0, 2**0.5])


def test_equal_scores_are_all_average_whatever_rounding_says() -> None:
    tenths = np.full(3, 0.1)
    assert tenths.std() > 0  # the mean of three tenths is a little more than a tenth
    assert standardised(tenths).tolist() == [0, 0, 0]


def test_the_best_has_nobody_above_and_equals_share_a_place() -> None:
    assert share_above(np.asarray([1.0, 3, 2, 3, 0])).tolist() == pytest.approx([0.6, 0, 0.4, 0, 0.8])


def test_a_difference_by_rounding_alone_puts_nobody_above() -> None:
    assert share_above(np.asarray([0.3, 0.1 + 0.2, 0.5])).tolist() == pytest.approx([1 / 3, 1 / 3, 0])


def test_a_missing_score_stays_missing_and_counts_for_nobody() -> None:
    scores = np.asarray([2.0, math.nan, 4.0])
    np.testing.assert_allclose(standardised(scores), [-1, math.nan, 1])
    np.testing.assert_allclose(share_above(scores), [0.5, math.nan, 0])


@pytest.mark.parametrize("scores", [[], [math.nan]])
def test_without_scores_there_is_nothing_to_say(scores: list[float]) -> None:
    for found in (standardised(np.asarray(scores)), share_above(np.asarray(scores))):
        np.testing.assert_array_equal(found, scores)


@given(scores=SCORES, scale=st.sampled_from([0.5, 2.0, 8.0]))
def test_the_unit_of_the_score_does_not_matter(scores: np.ndarray, scale: float) -> None:
    for found in (standardised, share_above):
        np.testing.assert_allclose(found(scores * scale), found(scores), rtol=1e-9, atol=1e-12)
