"""A metric before the experiment: what planning one needs to know of it."""

from dataclasses import dataclass

import polars as pl

from recsys.errors import ConfigError, DataError
from recsys.experiments.definition import Experiment
from recsys.experiments.estimate import ArmEstimate, estimate_arms
from recsys.experiments.metric import Kind, MetricDefinition
from recsys.experiments.metric_values import metric_values
from recsys.experiments.moments import Moments


@dataclass(frozen=True)
class Baseline:
    """One metric before the experiment."""

    metric: str
    kind: Kind
    mean: float
    variance: float
    """Of one unit, after the covariate."""
    explained: float = 0.0
    """Share of the variance that the covariate takes away."""

    @staticmethod
    def by_hand(metric: MetricDefinition, mean: float, deviation: float | None) -> "Baseline":
        """A metric that is known by its mean and standard deviation; a proportion needs its mean only.

        Raises:
            ConfigError: There is no deviation where one is needed, or no mean between 0 and 1.
        """
        if metric.kind == "proportion":
            if not 0 < mean < 1:
                raise ConfigError(f"--mean: expected a proportion between 0 and 1, got {mean:g}")
            return Baseline(metric.name, metric.kind, mean, mean * (1 - mean))
        if deviation is None or not mean:
            raise ConfigError(f"expected --std, and a --mean that is not 0, for kind {metric.kind!r}")
        return Baseline(metric.name, metric.kind, mean, deviation**2)


def baselines_of(experiment: Experiment, frame: pl.DataFrame) -> list[Baseline]:
    """Measure the metrics on historical units.

    Raises:
        DataError: No metric can be measured.
    """
    found = [_baseline(frame, metric) for metric in experiment.metrics]
    baselines = [baseline for baseline in found if baseline is not None]
    if not baselines:
        raise DataError("no metric varies in the historical data; see that its columns are filled")
    return baselines


def _baseline(frame: pl.DataFrame, metric: MetricDefinition) -> Baseline | None:
    taken, _ = metric_values(frame, metric)
    if taken is None or frame.height < 2:
        return None
    moments = Moments.of(taken.values)
    if metric.kind == "ratio" and not moments.mean[1]:
        return None
    found: ArmEstimate = estimate_arms({"all": moments}, metric.kind)["all"]
    if not found.variance or not found.mean:
        return None
    explained = 1 - found.adjusted_variance / found.variance
    return Baseline(metric.name, metric.kind, found.mean, found.adjusted_variance, explained)
