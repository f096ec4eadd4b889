"""How many units an experiment needs, and what it can find with those it plans for."""

from dataclasses import dataclass

from scipy import stats

from recsys.errors import ConfigError
from recsys.experiments import always_valid, group_sequential
from recsys.experiments.baseline import Baseline
from recsys.experiments.definition import Analysis, Experiment

_CURVE = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Multiples of the wanted effect that the curve shows."""
_DEFAULT_EFFECT = 0.02


@dataclass(frozen=True)
class Requirement:
    """What one metric asks for."""

    baseline: Baseline
    effect: float
    """Relative difference that is to be found; a guardrail's margin, relative, where it has one."""
    units: int
    """Of all arms together."""
    units_by_arm: dict[str, int]
    detectable: float | None
    """Relative difference that the planned units can find; ``None`` without a plan."""
    curve: tuple[tuple[float, int], ...]
    """Relative difference and units."""


@dataclass(frozen=True)
class Plan:
    """What an experiment asks for."""

    alpha: float
    """Of a single comparison: the definition's, over the number of goal metrics times arms."""
    power: float
    method: str
    inflation: float
    """Units relative to a fixed horizon."""
    requirements: tuple[Requirement, ...]
    left_out: tuple[str, ...]
    """Metrics without a baseline: unknown, or the same for every unit of the history."""


def plan(experiment: Experiment, baselines: list[Baseline], effect: float | None = None) -> Plan:
    """Plan an experiment's size.

    Args:
        experiment: The definition.
        baselines: From ``baselines_of``, or by hand.
        effect: Relative difference to find; absent for the definition's minimum effect, else 2 %.
    """
    analysis = experiment.analysis
    wanted = effect or analysis.minimum_effect or _DEFAULT_EFFECT
    alpha = analysis.alpha / _num_comparisons(experiment)
    squared = needed_z(analysis, alpha) ** 2
    fixed = needed_z(analysis.model_copy(update={"method": "fixed"}), alpha) ** 2
    one_sided = needed_z(analysis, min(2 * analysis.alpha, 0.999)) ** 2
    requirements = []
    for each in baselines:
        margin = _margin(experiment, each)
        asked = (margin, one_sided) if margin else (wanted, squared)
        requirements.append(_requirement(experiment, each, *asked))
    known = {baseline.metric for baseline in baselines}
    left_out = tuple(metric.name for metric in experiment.metrics if metric.name not in known)
    return Plan(alpha, analysis.power, analysis.method, squared / fixed, tuple(requirements), left_out)


def needed_z(analysis: Analysis, alpha: float) -> float:
    """Expected z at the planned end with which the method rejects with the wanted power.

    Source: fixed horizon: the sum of two normal quantiles; always valid: the same with the sequence's
    critical value at the size it is tuned for; group sequential: Jennison, Turnbull, 2000, section 2.3.
    """
    beta = float(stats.norm.ppf(analysis.power))
    if analysis.method == "always_valid":
        rho = always_valid.mixture_scale(alpha, 1.0)
        return float(always_valid.critical_value(1.0, alpha, rho)) + beta
    if analysis.method == "group_sequential":
        fractions = tuple(look / analysis.looks for look in range(1, analysis.looks + 1))
        return group_sequential.needed_drift(fractions, alpha, analysis.spending, analysis.power)
    return float(stats.norm.isf(alpha / 2)) + beta


def required_units(
    baseline: Baseline, effect: float, squared_z: float, weights: tuple[float, float]
) -> float:
    """Units of all arms together for one comparison.

    Args:
        baseline: The metric.
        effect: Relative difference.
        squared_z: Square of ``needed_z``.
        weights: Of control and treatment, as shares of all units.

    Source: n = z^2 (s_C^2 / w_C + s_T^2 / w_T) / delta^2, two-sample normal approximation with separate
    variances.
    """
    delta = effect * baseline.mean
    return squared_z * _spread(baseline, effect, weights) / delta**2


def _requirement(experiment: Experiment, baseline: Baseline, effect: float, squared_z: float) -> Requirement:
    def units(wanted: float) -> int:
        pairs = _weight_pairs(experiment)
        return -int(-max(required_units(baseline, wanted, squared_z, pair) for pair in pairs) // 1)

    total, planned = units(effect), experiment.analysis.expected_units
    by_arm = {arm.key: -int(-total * arm.weight // 1) for arm in experiment.arms}
    curve = tuple((effect * factor, units(effect * factor)) for factor in _CURVE)
    detectable = None
    if planned is not None:
        widest = max(_spread(baseline, 0.0, pair) for pair in _weight_pairs(experiment))
        detectable = (squared_z * widest / planned) ** 0.5 / abs(baseline.mean)
    return Requirement(baseline, effect, total, by_arm, detectable, curve)


def _spread(baseline: Baseline, effect: float, weights: tuple[float, float]) -> float:
    """Variance of the difference, times the number of units."""
    control = treatment = baseline.variance
    if baseline.kind == "proportion":
        moved = min(baseline.mean * (1 + effect), 1.0)
        treatment = moved * (1 - moved) * (1 - baseline.explained)
    return control / weights[0] + treatment / weights[1]


def _weight_pairs(experiment: Experiment) -> list[tuple[float, float]]:
    control = experiment.control
    pairs = [(control.weight, arm.weight) for arm in experiment.arms if arm is not control]
    usable = [pair for pair in pairs if min(pair) > 0]
    if not usable:
        raise ConfigError("expected control and another arm with weight above 0; change the weights")
    return usable


def _margin(experiment: Experiment, baseline: Baseline) -> float | None:
    """A guardrail's margin, relative: what a one-sided test without correction must tell from harm."""
    metric = next(each for each in experiment.metrics if each.name == baseline.metric)
    return metric.margin / abs(baseline.mean) if metric.margin else None


def _num_comparisons(experiment: Experiment) -> int:
    if experiment.analysis.correction == "none":
        return 1
    goals = sum(metric.role != "guardrail" for metric in experiment.metrics)
    return goals * (len(experiment.arms) - 1)
