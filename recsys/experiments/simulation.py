"""Rehearsals on the operator's own history: how often each method finds an effect that is, or is not, there.

Units are drawn from history with replacement, get an arm by chance, and are looked at as they come in.
Without a planted effect every finding is false (A/A).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from scipy import stats

from recsys.errors import ConfigError, DataError
from recsys.experiments import always_valid, group_sequential
from recsys.experiments.definition import Analysis, Experiment
from recsys.experiments.metric_values import metric_values
from recsys.experiments.moments import Moments
from recsys.experiments.paths import Paths, Population, draw_paths

MAX_UNITS = 20_000
"""Units of a simulated experiment where nothing else is said."""


@dataclass(frozen=True)
class Rate:
    """How often a method rejected, with its 95 % interval (Wilson)."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Simulation:
    """What came of it."""

    metric: str
    runs: int
    units: int
    looks: int
    effect: float
    """Relative difference that was planted; 0 for none."""
    rates: dict[str, Rate]
    """``fixed``: one look at the end; ``peeking``: the same test at every look; then methods that
    hold at all looks."""
    uniformity: float
    """P-value of a Kolmogorov-Smirnov test that the p-values of the last look are uniform, as they must be
    without an effect."""


def simulate(
    experiment: Experiment,
    history: pl.DataFrame,
    rng: np.random.Generator,
    *,
    runs: int = 2000,
    looks: int = 20,
    units: int | None = None,
    effect: float = 0.0,
) -> Simulation:
    """Simulate control against one arm on the primary metric.

    Args:
        experiment: The definition; its first arm besides control.
        history: One row per unit, see ``past_units``.
        rng: Source of chance.
        runs: Experiments.
        looks: Looks at equal distances in each.
        units: Units per experiment; ``None`` for those that are planned, at most 20,000.
        effect: Relative difference to plant.

    Raises:
        DataError: The primary metric does not vary in history, or there are fewer than two units per look.
    """
    primary, analysis = experiment.primary, experiment.analysis
    size = units or min(analysis.expected_units or history.height, MAX_UNITS)
    if size < 2 * looks:
        raise DataError(f"expected at least {2 * looks} units for {looks} looks, got {size}")
    outcomes = _outcomes(experiment, history)
    population = Population(outcomes, primary.kind, _treatment_share(experiment), effect)
    paths = draw_paths(population, rng, runs=runs, looks=looks, block=size // looks)
    tau = _mixed_effect(experiment, outcomes, float(paths.std_error[:, -1].mean()))
    p_values = 2 * stats.norm.sf(np.abs(paths.z[:, -1]))
    return Simulation(
        metric=primary.name,
        runs=runs,
        units=int(paths.units[-1]),
        looks=looks,
        effect=effect,
        rates={name: rate_of(found) for name, found in rejections(paths, analysis, tau).items()},
        uniformity=float(stats.kstest(p_values, "uniform").pvalue),
    )


def _outcomes(experiment: Experiment, history: pl.DataFrame) -> Float[np.ndarray, "outcomes units"]:
    """The primary metric's numbers; a covariate is taken out with the coefficient that history gives."""
    primary = experiment.primary
    taken, problems = metric_values(history, primary)
    if taken is None or history.height < 2:
        raise DataError("; ".join(problem.message for problem in problems) or "there is no history")
    num_outcomes = 2 if primary.kind == "ratio" else 1
    outcomes, covariates = taken.values[:num_outcomes], taken.values[num_outcomes:]
    if covariates.size and primary.kind == "mean":
        covariance = Moments.of(taken.values).covariance
        theta = np.linalg.lstsq(covariance[1:, 1:], covariance[0, 1:], rcond=1e-12)[0]
        outcomes = outcomes - theta @ (covariates - covariates.mean(axis=1, keepdims=True))
    if not np.ptp(outcomes[0]):
        raise DataError(f"{primary.name} is the same for every unit of the history; nothing can be simulated")
    return outcomes


def rejections(paths: Paths, analysis: Analysis, tau: float) -> dict[str, Bool[np.ndarray, " runs"]]:
    """Which runs each method rejects.

    Args:
        paths: What looks saw.
        analysis: For alpha, and the looks of the group sequential design.
        tau: Scale of the effects that mSPRT mixes.
    """
    alpha, z, n, looks = analysis.alpha, paths.z, paths.units, len(paths.units)
    critical = stats.norm.isf(alpha / 2)
    sequence = always_valid.critical_value(n, alpha, always_valid.mixture_scale(alpha, float(n[-1])))
    enough = paths.fewest >= min(always_valid.MIN_UNITS, n[-1] / 4)
    squared_error = np.maximum(paths.std_error, 1e-150) ** 2
    mixture = always_valid.mixture_p_value(paths.difference, squared_error, tau)
    planned = _planned_looks(looks, analysis.looks)
    fractions = tuple(float(look + 1) / looks for look in planned)
    limits = group_sequential.bounds(fractions, alpha, analysis.spending)
    return {
        "fixed": np.abs(z[:, -1]) >= critical,
        "peeking": (np.abs(z) >= critical).any(axis=1),
        "always_valid": ((np.abs(z) >= sequence) & enough).any(axis=1),
        "mixture_sprt": ((mixture <= alpha) & enough).any(axis=1),
        "group_sequential": (np.abs(z[:, planned]) >= limits).any(axis=1),
    }


def _planned_looks(looks: int, planned: int) -> Int[np.ndarray, " planned"]:
    """Which of the looks are those that a group sequential design plans, the last one included."""
    number = min(max(planned, 2), looks)
    return np.unique(np.ceil(np.arange(1, number + 1) * looks / number).astype(int) - 1)


def _treatment_share(experiment: Experiment) -> float:
    control = experiment.control
    other = next(arm for arm in experiment.arms if arm is not control)
    both = control.weight + other.weight
    share = other.weight / both if both else 0.0
    if not 0 < share < 1:
        raise ConfigError("expected control and the first other arm with weights above 0; change the weights")
    return share


def _mixed_effect(
    experiment: Experiment, outcomes: Float[np.ndarray, "outcomes units"], error: float
) -> float:
    """Scale of the effects that mSPRT mixes: the minimum effect, else what the end can just tell apart."""
    wanted = experiment.analysis.minimum_effect
    mean = outcomes[0].mean() / (outcomes[1].mean() if len(outcomes) > 1 else 1.0)
    return abs(wanted * float(mean)) if wanted and mean else 2 * error


def rate_of(rejected: Bool[np.ndarray, " runs"]) -> Rate:
    """The share of runs that rejected."""
    interval = stats.binomtest(int(rejected.sum()), len(rejected)).proportion_ci(method="wilson")
    return Rate(float(rejected.mean()), float(interval.low), float(interval.high))
