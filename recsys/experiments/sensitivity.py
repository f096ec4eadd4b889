"""Whether a result about revenue hangs on a few large orders: every such metric again, cut the other way.

For whoever reads the result. These rows are not corrected for, and no verdict rests on them.
"""

import polars as pl

from recsys.experiments.definition import Experiment
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.metric_analysis import analyze_metric
from recsys.experiments.reading import Reading
from recsys.experiments.result import MetricResult

WINSORIZED_AT = 0.999
"""Quantile at which a metric is cut that is not cut in the definition."""


def sensitivity(
    experiment: Experiment, frame: pl.DataFrame, reading: Reading | None = None
) -> tuple[MetricResult, ...]:
    """The twins of all metrics of revenue, in the order of the definition.

    Args:
        experiment: The definition.
        frame: One row per unit, in order of arm.
        reading: Which look it is.

    Returns:
        A metric without ``winsorize`` cut at ``WINSORIZED_AT``, one with it uncut; both secondary. A metric
        whose twin cannot be compared has none.
    """
    twins = (_twin(metric) for metric in experiment.metrics if _is_revenue(metric))
    results = (analyze_metric(experiment, frame, twin, reading)[0] for twin in twins)
    return tuple(result for result in results if result.comparisons)


def _is_revenue(metric: MetricDefinition) -> bool:
    """Whether its value or numerator is money, by the name of the column."""
    return metric.kind != "proportion" and "revenue" in metric.outcomes[0].lower()


def _twin(metric: MetricDefinition) -> MetricDefinition:
    cut = WINSORIZED_AT if metric.winsorize is None else None
    return metric.model_copy(update={"role": "secondary", "margin": None, "winsorize": cut})
