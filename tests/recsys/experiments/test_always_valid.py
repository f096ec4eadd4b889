import numpy as np
import pytest
from scipy import stats

from recsys.experiments.always_valid import (
    critical_value,
    mixture_p_value,
    mixture_scale,
    one_sided_critical_value,
    p_value,
)

RHO = mixture_scale(0.05, 10_000.0)


def test_at_the_expected_size_an_interval_is_half_as_wide_again_as_a_fixed_one() -> None:
    wide = critical_value(10_000, 0.05, RHO)
    assert wide == pytest.approx(3.035, abs=1e-3)
    assert wide / stats.norm.ppf(0.975) == pytest.approx(1.55, abs=0.01)
    sizes = np.array([1_000, 5_000, 20_000, 100_000])
    assert (critical_value(sizes, 0.05, RHO) > wide).all()


def test_a_p_value_is_alpha_exactly_where_the_interval_touches_zero() -> None:
    for n in (300, 10_000, 70_000):
        assert p_value(critical_value(n, 0.05, RHO), n, RHO) == pytest.approx(0.05)
    assert p_value(0.0, 500, RHO) == 1.0


def test_one_side_is_nearer_than_two() -> None:
    assert one_sided_critical_value(10_000, 0.05, RHO) < critical_value(10_000, 0.05, RHO)


def test_mixture_p_value_equals_the_likelihood_ratio_by_integration() -> None:
    n, variance, tau, difference = 500, 2.0, 0.1, 0.2
    error = np.sqrt(2 * variance / n)
    published = np.sqrt(2 * variance / (2 * variance + n * tau**2)) * np.exp(
        n**2 * tau**2 * difference**2 / (4 * variance * (2 * variance + n * tau**2))
    )
    effects = np.linspace(-2, 2, 200_001)
    density = stats.norm.pdf(difference, effects, error) * stats.norm.pdf(effects, 0, tau)
    ratio = np.trapezoid(density, effects) / stats.norm.pdf(difference, 0, error)
    assert mixture_p_value(difference, 2 * variance / n, tau) == pytest.approx(1 / ratio, rel=1e-9)
    assert published == pytest.approx(ratio, rel=1e-9)


def test_seventy_nine_looks_at_nothing_seldom_reject() -> None:
    rng = np.random.default_rng(5)
    looks = np.arange(1, 80) * 100
    steps = rng.normal(size=(2000, 79, 2)) * 10  # sums of a hundred standard normal values
    sums = steps.cumsum(axis=1)
    difference = (sums[..., 0] - sums[..., 1]) / looks
    z = difference / np.sqrt(2 / looks)
    rho = mixture_scale(0.05, float(2 * looks[-1]))
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.28
    assert (np.abs(z) > critical_value(2 * looks, 0.05, rho)).any(axis=1).mean() <= 0.05
    assert (z > one_sided_critical_value(2 * looks, 0.05, rho)).any(axis=1).mean() <= 0.05
    assert (mixture_p_value(difference, 2.0 / looks, 0.1).min(axis=1) <= 0.05).mean() <= 0.05
