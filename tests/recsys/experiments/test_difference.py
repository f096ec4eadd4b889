"""Absolute effects and standard errors equal those of scipy, statsmodels and tea-tasting."""

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
import tea_tasting as tt
from jaxtyping import Float
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.proportion import test_proportions_2indep as two_proportions
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from recsys.experiments.difference import Difference, compare
from recsys.experiments.estimate import estimate_arms
from recsys.experiments.metric import Kind
from recsys.experiments.moments import Moments

Columns = Float[np.ndarray, "columns units"]
EXACT = 1e-9


def difference(control: Columns, treatment: Columns, kind: Kind = "mean") -> Difference:
    arms = estimate_arms({"control": Moments.of(control), "treatment": Moments.of(treatment)}, kind)
    return compare(arms["treatment"], arms["control"])


def revenue(seed: int, n: int, lift: float = 1.0) -> Columns:
    """Rows: revenue, sessions, revenue before."""
    rng = np.random.default_rng(seed)
    taste = rng.gamma(2.0, 10.0, n)
    sessions = 1 + rng.poisson(2, n)
    return np.stack([rng.gamma(1.0, taste) * lift * sessions, sessions.astype(float), rng.gamma(1.0, taste)])


CONTROL, TREATMENT = revenue(1, 1200), revenue(2, 1000, 1.1)


def test_means_equal_welch_of_scipy_and_statsmodels() -> None:
    found = difference(CONTROL[:1], TREATMENT[:1])
    welch = stats.ttest_ind(TREATMENT[0], CONTROL[0], equal_var=False)
    reference = CompareMeans(DescrStatsW(TREATMENT[0]), DescrStatsW(CONTROL[0]))
    assert found.std_error == pytest.approx(reference.std_meandiff_separatevar, rel=EXACT)
    assert found.z == pytest.approx(welch.statistic, rel=EXACT)
    assert found.degrees_of_freedom == pytest.approx(welch.df, rel=EXACT)
    critical = stats.t.ppf(0.975, found.degrees_of_freedom)
    assert found.interval(critical) == pytest.approx(reference.tconfint_diff(usevar="unequal"), rel=EXACT)


def test_proportions_equal_statsmodels() -> None:
    control, treatment = np.zeros((1, 5000)), np.zeros((1, 4000))
    control[0, :500], treatment[0, :460] = 1, 1
    found = difference(control, treatment, "proportion")
    reference = two_proportions(460, 4000, 500, 5000, method="wald", compare="diff")
    assert found.z == pytest.approx(reference.statistic, rel=EXACT)
    limits = confint_proportions_2indep(460, 4000, 500, 5000, method="wald", compare="diff")
    assert found.interval(stats.norm.ppf(0.975)) == pytest.approx(limits, rel=EXACT)


def test_ratios_equal_cluster_robust_regression_of_single_sessions() -> None:
    rng = np.random.default_rng(3)
    sizes = {"control": 1 + rng.poisson(3, 400), "treatment": 1 + rng.poisson(2, 300)}
    rows, arms = [], {}
    for arm, sessions in sizes.items():
        users = np.repeat(np.arange(len(sessions)), sessions)
        clicks = rng.binomial(1, rng.beta(1, 4, len(sessions))[users]).astype(float)
        rows.append((clicks, users, np.full(len(users), float(arm == "treatment"))))
        arms[arm] = np.stack([np.bincount(users, clicks), sessions.astype(float)])
    found = difference(arms["control"], arms["treatment"], "ratio")
    clicks, users, treated = (np.concatenate(column) for column in zip(*rows, strict=True))
    groups = users + 10_000 * treated
    fit = sm.OLS(clicks, sm.add_constant(treated)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    # The regression divides by n where a sample variance divides by n - 1, arm by arm.
    parts = estimate_arms({arm: Moments.of(values) for arm, values in arms.items()}, "ratio").values()
    with_n = np.sqrt(sum(part.squared_error * (part.n - 1) / part.n for part in parts))
    assert found.estimate == pytest.approx(fit.params[1], rel=EXACT)
    assert with_n == pytest.approx(fit.bse[1], rel=EXACT)


@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_means_and_ratios_with_and_without_covariate_equal_tea_tasting(kind: Kind) -> None:
    frames = [
        pl.DataFrame(dict(zip("yxz", values, strict=True))).with_columns(
            one=pl.lit(1.0), variant=pl.lit(variant)
        )
        for variant, values in enumerate((CONTROL, TREATMENT))
    ]
    denominator = "x" if kind == "ratio" else None
    metric = {
        "plain": tt.RatioOfMeans("y", denominator),
        "cuped": tt.RatioOfMeans("y", denominator, "z", "one"),
    }
    reference = tt.Experiment(metric).analyze(pl.concat(frames))
    columns = [0, 1] if kind == "ratio" else [0]
    for name, rows in (("plain", columns), ("cuped", [*columns, 2])):
        found = difference(CONTROL[rows], TREATMENT[rows], kind)
        assert found.estimate == pytest.approx(reference[name].effect_size, rel=EXACT)
        assert found.z == pytest.approx(reference[name].statistic, rel=EXACT)
        p_value = 2 * stats.t.sf(abs(found.z), found.degrees_of_freedom)
        assert p_value == pytest.approx(reference[name].pvalue, rel=1e-8)


def test_a_covariate_takes_its_share_of_the_variance_and_none_without_variation() -> None:
    plain = difference(CONTROL[:1], TREATMENT[:1])
    adjusted = difference(CONTROL[[0, 2]], TREATMENT[[0, 2]])
    rho = np.corrcoef(np.hstack([CONTROL[[0, 2]], TREATMENT[[0, 2]]]))[0, 1]
    assert adjusted.std_error == pytest.approx(plain.std_error * np.sqrt(1 - rho**2), rel=0.01)
    constant = difference(
        np.vstack([CONTROL[:1], np.ones((1, 1200))]), np.vstack([TREATMENT[:1], np.ones((1, 1000))])
    )
    assert constant.estimate == plain.estimate
    assert constant.std_error == pytest.approx(plain.std_error, rel=1e-12)


def test_a_relative_interval_excludes_zero_exactly_when_the_absolute_one_does() -> None:
    for lift in np.linspace(0.8, 1.25, 40):
        found = difference(CONTROL[:1], TREATMENT[:1] * lift)
        relative = found.relative_interval(1.96)
        assert relative is not None
        assert found.relative is not None
        assert relative[0] < found.relative < relative[1]
        low, high = found.interval(1.96)
        assert (relative[0] > 0) == (low > 0)
        assert (relative[1] < 0) == (high < 0)


def test_a_relative_interval_without_covariate_is_fiellers_for_two_means() -> None:
    found = difference(CONTROL[:1], TREATMENT[:1])
    means = [values[0].mean() for values in (TREATMENT, CONTROL)]
    errors = [values[0].var(ddof=1) / values.shape[1] for values in (TREATMENT, CONTROL)]
    limits = found.relative_interval(1.96)
    assert limits is not None
    for limit in limits:
        ratio = 1 + limit
        assert (means[0] - ratio * means[1]) ** 2 == pytest.approx(
            1.96**2 * (errors[0] + ratio**2 * errors[1]), rel=1e-9
        )


@pytest.mark.parametrize("rows", [[0], [0, 2]])
def test_relative_intervals_cover_as_often_as_they_say(rows: list[int]) -> None:
    covered = 0
    for seed in range(400):
        found = difference(revenue(2 * seed, 300)[rows], revenue(2 * seed + 1, 200, 1.3)[rows])
        interval = found.relative_interval(1.96)
        assert interval is not None
        covered += interval[0] <= 0.3 <= interval[1]
    assert 0.92 <= covered / 400 <= 0.98


def test_there_is_no_relative_interval_where_control_is_not_clearly_apart_from_zero() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (1, 500))
    assert difference(noise, noise + 1).relative_interval(1.96) is None


def test_moments_of_parts_add_up_to_moments_of_the_whole() -> None:
    shifted = CONTROL + 1e6
    whole = Moments.of(shifted)
    parts = Moments.of(shifted[:, :1]) + Moments.of(shifted[:, 1:700]) + Moments.of(shifted[:, 700:])
    assert parts.n == whole.n
    assert parts.mean == pytest.approx(whole.mean, rel=1e-12)
    assert parts.comoment == pytest.approx(whole.comoment, rel=1e-9)
    assert (Moments.of(shifted[:, :0]) + whole).comoment == pytest.approx(whole.comoment)
    assert whole.covariance == pytest.approx(np.cov(shifted))


@pytest.mark.parametrize("value", [0.1, 9.99, 5.0, 1e-300])
def test_what_is_the_same_for_every_unit_has_exactly_no_variance_as_outcome_ratio_and_covariate(
    value: float,
) -> None:
    same = difference(np.full((1, 1003), value), np.full((1, 997), value))
    assert (same.estimate, same.std_error) == (0.0, 0.0)
    noisy = np.full((1, 997), value)
    noisy[0, ::3] = np.nextafter(value, 1e9)
    assert difference(np.full((1, 1003), value), noisy).std_error == 0.0
    ratio = difference(
        np.vstack([CONTROL[1] * 0.1, CONTROL[1]]), np.vstack([TREATMENT[1] * 0.3, TREATMENT[1]]), "ratio"
    )
    assert ratio.std_error == 0.0
    plain = difference(CONTROL[:1], TREATMENT[:1])
    constant = difference(
        np.vstack([CONTROL[:1], np.full((1, 1200), value)]),
        np.vstack([TREATMENT[:1], np.full((1, 1000), value)]),
    )
    assert constant.estimate == pytest.approx(plain.estimate, rel=1e-12)
    assert constant.std_error == pytest.approx(plain.std_error, rel=1e-12)
    itself = difference(CONTROL[[0, 0]] * [[1.0], [0.3]], TREATMENT[[0, 0]] * [[1.0], [0.3]])
    assert itself.std_error == 0.0
