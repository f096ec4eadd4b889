"""One metric of an experiment: from columns to comparisons of every arm with control."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Float

from recsys.experiments.bulk import ARM
from recsys.experiments.comparison import Comparison, compare_arm
from recsys.experiments.data_quality import Problem
from recsys.experiments.definition import Experiment
from recsys.experiments.estimate import ArmEstimate, estimate_arms
from recsys.experiments.health import covariate_problems, variation_problems
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.metric_values import metric_values
from recsys.experiments.moments import Moments
from recsys.experiments.reading import Reading
from recsys.experiments.result import MetricResult


def analyze_metric(
    experiment: Experiment, frame: pl.DataFrame, metric: MetricDefinition, reading: Reading | None = None
) -> tuple[MetricResult, tuple[Problem, ...]]:
    """Estimate one metric in every arm and compare the arms with control.

    Args:
        experiment: Names control, weights and method.
        frame: One row per unit.
        metric: The metric.
        reading: Which look it is; ``None`` for as if nobody knew of earlier ones.

    Returns:
        The result, without comparisons where there can be none; and why.
    """
    taken, problems = metric_values(frame, metric)
    if taken is None:
        return MetricResult(metric, {}, ()), problems
    moments = _by_arm(frame[ARM], taken.values)
    moments, found = variation_problems(metric, moments)
    problems += found
    if experiment.control.key not in moments:
        return MetricResult(metric, {}, (), taken.cap), problems
    estimates = estimate_arms(moments, metric.kind)
    comparisons = _compare_arms(experiment, metric, estimates, frame.height, reading)
    problems += covariate_problems(metric, moments, comparisons)
    return MetricResult(metric, estimates, comparisons, taken.cap), problems


def _compare_arms(
    experiment: Experiment,
    metric: MetricDefinition,
    estimates: Mapping[str, ArmEstimate],
    num_units: int,
    reading: Reading | None,
) -> tuple[Comparison, ...]:
    """Compare every arm that has units with control, which must have some."""
    control = experiment.control
    return tuple(
        compare_arm(
            metric,
            estimates,
            (arm.key, control.key),
            experiment.analysis,
            num_units=num_units,
            share=arm.weight + control.weight,
            reading=reading,
        )
        for arm in experiment.arms
        if arm is not control and arm.key in estimates
    )


def _by_arm(arms: pl.Series, values: Float[np.ndarray, "columns units"]) -> dict[str, Moments]:
    """Moments of every arm; the units are in order of arm."""
    lengths = pl.DataFrame({ARM: arms}).group_by(ARM, maintain_order=True).len()
    moments, start = {}, 0
    for arm, length in lengths.iter_rows():
        moments[arm] = Moments.of(values[:, start : start + length])
        start += length
    return moments
