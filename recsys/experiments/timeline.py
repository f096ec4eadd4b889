"""The primary metric and the sample ratio as units came in, day by day (UTC)."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from recsys.experiments.bulk import ARM
from recsys.experiments.comparison import Interval
from recsys.experiments.definition import Experiment
from recsys.experiments.difference import compare
from recsys.experiments.estimate import estimate_arms
from recsys.experiments.inference import watching
from recsys.experiments.metric_values import MetricValues, metric_values
from recsys.experiments.moments import Moments
from recsys.experiments.result import Day
from recsys.experiments.sample_ratio import check_sample_ratio
from recsys.experiments.unit_table import EXPOSURE_TIME

_MAX_DAYS = 400


def over_time(experiment: Experiment, frame: pl.DataFrame) -> tuple[Day, ...]:
    """The cumulative lift of units exposed until each day, with a band that holds on all days together.

    Returns:
        By day; empty where ``frame`` has no exposure times or the primary metric says nothing.
    """
    if EXPOSURE_TIME not in frame.columns or frame[EXPOSURE_TIME].null_count() or frame.is_empty():
        return ()
    taken, _ = metric_values(frame, experiment.primary)
    if taken is None:
        return ()
    days: list[Day] = []
    so_far: dict[str, Moments] = {}
    for date, moments in _daily(frame, taken):
        for arm, each in moments.items():
            so_far[arm] = so_far[arm] + each if arm in so_far else each
        days.append(_day(experiment, date, so_far))
    return tuple(days[-_MAX_DAYS:])


def _daily(frame: pl.DataFrame, taken: MetricValues) -> Iterator[tuple[str, dict[str, Moments]]]:
    """Moments of every arm's units that were first exposed on a day."""
    keyed = frame.select(ARM, day=pl.col(EXPOSURE_TIME).dt.date()).with_row_index("row")
    grouped = keyed.group_by("day", ARM).agg("row").sort("day", ARM)
    for (date,), part in grouped.group_by("day", maintain_order=True):
        rows = zip(part[ARM], part["row"], strict=True)
        yield str(date), {arm: Moments.of(taken.values[:, np.asarray(index)]) for arm, index in rows}


def _day(experiment: Experiment, date: str, so_far: dict[str, Moments]) -> Day:
    units = {arm.key: so_far[arm.key].n if arm.key in so_far else 0 for arm in experiment.arms}
    weights = {arm.key: arm.weight for arm in experiment.arms}
    return Day(date, units, check_sample_ratio(units, weights), _lifts(experiment, so_far))


def _lifts(experiment: Experiment, so_far: dict[str, Moments]) -> dict[str, tuple[Interval, Interval]]:
    primary, control = experiment.primary, experiment.control
    usable = {
        arm: each for arm, each in so_far.items() if each.n > 1 and (primary.kind != "ratio" or each.mean[1])
    }
    if control.key not in usable:
        return {}
    estimates = estimate_arms(usable, primary.kind)
    lifts = {}
    for arm in experiment.arms:
        if arm is control or arm.key not in estimates:
            continue
        found = compare(estimates[arm.key], estimates[control.key])
        if found.std_error > 0:
            critical = watching(experiment.analysis, arm.weight + control.weight).critical(found)
            relative = Interval(found.relative, *(found.relative_interval(critical) or (None, None)))
            lifts[arm.key] = (Interval(found.estimate, *found.interval(critical)), relative)
    return lifts
