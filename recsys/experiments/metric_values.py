"""One metric's numbers, ready for moments: cut where the definition says so, covariates completed."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from recsys.experiments.data_quality import Problem
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.moments import Moments

_HEAVY = 355.0
"""Units per arm for each squared skewness before a mean is about normal."""


@dataclass(frozen=True)
class MetricValues:
    """Numbers of one metric for all units, in the order of the table."""

    values: Float[np.ndarray, "columns units"]
    """The value, or numerator and denominator; then covariates."""
    cap: float | None = None
    """Where values were cut, ``None`` for nowhere."""


def metric_values(
    frame: pl.DataFrame, metric: MetricDefinition
) -> tuple[MetricValues | None, tuple[Problem, ...]]:
    """Take a metric's numbers from the table of units.

    Returns:
        The numbers, or ``None`` where they say nothing; and what is wrong with them.

    Source: rule for heavy tails: Kohavi, Deng, Longbotham, Xu, "Seven rules of thumb for web site
    experimenters", KDD 2014, rule 7.
    """
    outcomes = np.stack([frame[name].to_numpy() for name in metric.columns if name != metric.covariate])
    problems = _unusable(outcomes, metric)
    if problems:
        return None, problems
    outcomes, cap = _winsorised(outcomes, metric)
    covariates, problems = _covariates(frame, metric)
    problems += _heavy_tail(outcomes[0], metric)
    return MetricValues(np.concatenate([outcomes, covariates]), cap), problems


def _unusable(outcomes: Float[np.ndarray, "outcomes units"], metric: MetricDefinition) -> tuple[Problem, ...]:
    names = [name for name in metric.columns if name != metric.covariate]
    for name, column in zip(names, outcomes, strict=True):
        if bad := int((~np.isfinite(column)).sum()):
            message = (
                f"column {name!r} has {bad:,} values that are missing, NaN or infinite; write 0 where a unit "
                "had none, and correct the rest"
            )
            return (Problem("not_a_number", "blocking", message, metric.name),)
    if metric.kind == "proportion" and (bad := int((~np.isin(outcomes[0], (0.0, 1.0))).sum())):
        message = f"expected 0 or 1 in column {names[0]!r}, got {bad:,} other values; use kind = 'mean'"
        return (Problem("no_proportion", "blocking", message, metric.name),)
    return ()


def _winsorised(
    outcomes: Float[np.ndarray, "outcomes units"], metric: MetricDefinition
) -> tuple[Float[np.ndarray, "outcomes units"], float | None]:
    """Cut the value or the numerator at a quantile of all arms together."""
    if metric.winsorize is None or metric.kind == "proportion" or not outcomes.size:
        return outcomes, None
    cap = float(np.quantile(outcomes[0], metric.winsorize))
    return np.stack([np.minimum(outcomes[0], cap), *outcomes[1:]]), cap


def _covariates(
    frame: pl.DataFrame, metric: MetricDefinition
) -> tuple[Float[np.ndarray, "covariates units"], tuple[Problem, ...]]:
    """The covariate; where it is missing, its mean, and a second column that says so."""
    if metric.covariate is None:
        return np.zeros((0, frame.height)), ()
    column = frame[metric.covariate].to_numpy()
    known = np.isfinite(column)
    if known.all():
        return column[None, :], ()
    share = 1 - known.mean()
    message = (
        f"covariate {metric.covariate!r} is missing for {share:.1%} of the units; its mean stands in, with "
        "an indicator as second covariate"
    )
    problems = (Problem("missing_covariate", "warning", message, metric.name),)
    if not known.any():
        return np.zeros((0, frame.height)), problems
    filled = np.where(known, column, column[known].mean())
    return np.stack([filled, (~known).astype(float)]), problems


def _heavy_tail(values: Float[np.ndarray, " units"], metric: MetricDefinition) -> tuple[Problem, ...]:
    deviation = values - values.mean() if values.size else values
    variance = float(np.mean(deviation**2)) if values.size else 0.0
    if metric.kind != "mean" or not Moments.of(values[None, :]).comoment[0, 0]:
        return ()
    skewness = float(np.mean(deviation**3)) / variance**1.5
    needed = _HEAVY * skewness**2
    if values.size / 2 >= needed:
        return ()
    message = (
        f"the values are skewed ({skewness:.1f}): their means are about normal from {needed:,.0f} units per "
        "arm on; give a lower winsorize"
    )
    return (Problem("heavy_tail", "warning", message, metric.name),)
