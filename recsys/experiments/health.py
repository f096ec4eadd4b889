"""Checks of a metric's moments: what cannot be compared, and covariates that look wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from recsys.experiments.comparison import Comparison
from recsys.experiments.data_quality import Problem, Severity
from recsys.experiments.difference import compare
from recsys.experiments.estimate import estimate_arms
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.moments import Moments

_ALARM = 0.001


def variation_problems(
    metric: MetricDefinition, moments: Mapping[str, Moments]
) -> tuple[dict[str, Moments], tuple[Problem, ...]]:
    """Leave out arms that cannot be estimated, and say why; name outcomes that do not vary."""
    problems = []
    usable = {arm: each for arm, each in moments.items() if each.n > 1}
    if few := sorted(moments.keys() - usable.keys()):
        message = f"fewer than two units in {', '.join(few)}: no variance can be estimated"
        problems.append(Problem("too_few_units", "blocking", message, metric.name))
    if metric.kind == "ratio" and (empty := [arm for arm, each in usable.items() if not each.mean[1]]):
        message = (
            f"denominator {metric.denominator!r} sums to zero in {', '.join(empty)}: the ratio is undefined; "
            "see that it is logged"
        )
        problems.append(Problem("zero_denominator", "blocking", message, metric.name))
        usable = {arm: each for arm, each in usable.items() if arm not in empty}
    still = _without_variance(metric, usable)
    if still:
        what = "/".join(repr(name) for name in metric.outcomes)
        message = f"{what} is the same for every unit in {', '.join(still)} (zero variance)" + (
            "; see that it is logged" if len(still) == len(usable) else ""
        )
        severity: Severity = "blocking" if len(still) == len(usable) else "warning"
        problems.append(Problem("zero_variance", severity, message, metric.name))
    return usable, tuple(problems)


def covariate_problems(
    metric: MetricDefinition, moments: Mapping[str, Moments], comparisons: Sequence[Comparison]
) -> tuple[Problem, ...]:
    """A covariate that differs between arms before the experiment, or that turns a result around."""
    num_outcomes = len(metric.outcomes)
    if metric.covariate is None or len(next(iter(moments.values())).mean) == num_outcomes:
        return ()
    problems = []
    before = estimate_arms({arm: _only(each, [num_outcomes]) for arm, each in moments.items()}, "mean")
    plain = estimate_arms(
        {arm: _only(each, list(range(num_outcomes))) for arm, each in moments.items()}, metric.kind
    )
    for comparison in comparisons:
        pair = comparison.arm, comparison.control
        differs = compare(*(before[arm] for arm in pair))
        if differs.std_error and 2 * stats.norm.sf(abs(differs.z)) < _ALARM:
            message = (
                f"covariate {metric.covariate!r} differs between {' and '.join(pair)} ({differs.z:+.1f} "
                "standard errors): it must be known before the first exposure"
            )
            problems.append(Problem("covariate_imbalance", "warning", message, metric.name))
        unadjusted = compare(*(plain[arm] for arm in pair)).estimate
        if (comparison.p_value or 0) < _ALARM and unadjusted * (comparison.absolute.estimate or 0) < 0:
            message = f"{pair[0]}: with and without covariate the effect points to opposite sides"
            problems.append(Problem("covariate_turns_sign", "warning", message, metric.name))
    return tuple(problems)


def _without_variance(metric: MetricDefinition, moments: Mapping[str, Moments]) -> list[str]:
    """Arms in which the value, or the ratio, is the same for every unit."""
    if not moments:
        return []
    columns = list(range(len(metric.outcomes)))
    plain = estimate_arms({arm: _only(each, columns) for arm, each in moments.items()}, metric.kind)
    return [arm for arm, each in plain.items() if not each.variance]


def _only(moments: Moments, columns: list[int]) -> Moments:
    return replace(moments, mean=moments.mean[columns], comoment=moments.comoment[np.ix_(columns, columns)])
