"""Whether an effect wears off or grows: the primary metric by days since a unit's first exposure."""

from datetime import datetime, timedelta

import polars as pl

from recsys.experiments.definition import Experiment
from recsys.experiments.log_metrics import ExposedLog
from recsys.experiments.metric_analysis import analyze_metric
from recsys.experiments.result import NoveltyDay
from recsys.experiments.unit_table import EXPOSURE_TIME

MAX_DAYS = 28
"""Days after the first exposure that are looked at."""
_MIN_UNITS = 100


def by_day_since_exposure(experiment: Experiment, log: ExposedLog, until: datetime) -> tuple[NoveltyDay, ...]:
    """Compare the arms on each day after the exposure, among units that were watched for all of it.

    Args:
        experiment: The definition.
        log: Units and events.
        until: The end of the log.

    Returns:
        By day, as long as there are 100 units; intervals hold for one day each.
    """
    one_look = experiment.analysis.model_copy(update={"method": "fixed"})
    single = experiment.model_copy(update={"analysis": one_look})
    days = []
    for day in range(MAX_DAYS):
        start, end = timedelta(days=day), timedelta(days=day + 1)
        frame = log.metrics(start, end).filter(pl.col(EXPOSURE_TIME) + end <= until)
        if frame.height < _MIN_UNITS:
            break
        result, _ = analyze_metric(single, frame, experiment.primary)
        counts = {arm: estimate.n for arm, estimate in result.arms.items()}
        days.append(NoveltyDay(day, counts, {each.arm: each.absolute for each in result.comparisons}))
    return tuple(days)
