"""The charts of an experiment's report, as self-contained images; what the numbers mean is in ``result``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from recsys.drawing import INK, MUTED, OURS, as_uri, style
from recsys.experiments.comparison import Comparison, Interval
from recsys.experiments.metric import MetricDefinition
from recsys.experiments.result import Day, NoveltyDay, Result
from recsys.experiments.sample_ratio import ALARM

BETTER, WORSE = "#14804a", "#c0362c"
_COLORS = (OURS, "#c77d1e", "#7a4fb5", "#2a8c8c", INK)


@dataclass(frozen=True)
class Chart:
    """One image of a report."""

    title: str
    caption: str
    """What to look for, in a sentence or two."""
    image: str
    """The SVG as a ``data:`` address."""


def charts(result: Result) -> list[Chart]:
    """Draw everything the result has numbers for."""
    with style():
        drawn = [_forest(result), _lift(result), _sample_ratio(result.over_time), _novelty(result.novelty)]
    return [chart for chart in drawn if chart is not None]


def _forest(result: Result) -> Chart | None:
    rows = [
        (metric.metric, each)
        for metric in result.metrics
        for each in metric.comparisons
        if each.relative.estimate is not None
    ]
    if not rows:
        return None
    figure = Figure(figsize=(9.6, 1.1 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    several = len(result.experiment.arms) > 2
    for row, (metric, each) in enumerate(rows):
        _whisker(axes, row, each.relative, _color(metric, each))
    names = [f"{metric.name}: {each.arm}" if several else metric.name for metric, each in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x")
    axes.set_xlabel("Relative difference to control")
    caption = (
        f"{1 - result.experiment.analysis.alpha:.0%} intervals. Green: better, red: worse, grey: the "
        "interval holds zero. A missing whisker: control is too near zero for a relative interval."
    )
    return Chart("All metrics", caption, as_uri(figure))


def _whisker(axes: Axes, row: int, interval: Interval, color: str) -> None:
    if interval.estimate is None:
        return
    if interval.low is not None and interval.high is not None:
        axes.plot([interval.low, interval.high], [row, row], color=color, linewidth=2)
    axes.plot([interval.estimate], [row], marker="o", color=color, markersize=7)


def _color(metric: MetricDefinition, comparison: Comparison) -> str:
    low, high = comparison.absolute.low, comparison.absolute.high
    if low is None or high is None or low <= 0 <= high:
        return MUTED
    return BETTER if comparison.improves(metric) else WORSE


def _lift(result: Result) -> Chart | None:
    days = [day for day in result.over_time if day.lifts]
    if len(days) < 2:
        return None
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    axes = figure.subplots()
    arms = [arm.key for arm in result.experiment.arms if arm is not result.experiment.control]
    bounds: list[float] = []
    for arm, color in zip(arms, _COLORS, strict=False):
        dates = _dates([day for day in days if arm in day.lifts])
        lifts = [day.lifts[arm][1] for day in days if arm in day.lifts]
        middle, low, high = _columns(lifts)
        axes.plot(dates, middle, color=color, linewidth=2, label=arm)
        axes.fill_between(dates, low, high, color=color, alpha=0.15, linewidth=0)
        bounds += [bound for bound in (*low[-1:], *high[-1:], *middle) if math.isfinite(bound)]
    _around(axes, bounds)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    caption = (
        "Relative difference of all units exposed until each day, with a band that holds on all days "
        "together (asymptotic confidence sequence), whatever the method of the decision."
    )
    return _finish(figure, axes, f"Cumulative lift of {result.experiment.primary.name}", caption, len(arms))


def _sample_ratio(days: tuple[Day, ...]) -> Chart | None:
    if len(days) < 2:
        return None
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    axes = figure.subplots()
    dates = _dates(days)
    axes.plot(dates, [max(day.srm.p_value, 1e-12) for day in days], color=OURS, linewidth=2)
    axes.axhline(ALARM, color=WORSE, linewidth=1, linestyle="--")
    axes.set_yscale("log")
    axes.set_ylim(top=1.5)
    axes.grid(axis="y")
    axes.set_ylabel("p-value")
    caption = f"Whether the arms have the units their weights promise; below {ALARM:g} (red) nothing holds."
    return Chart("Sample ratio over time", caption, as_uri(figure))


def _novelty(days: tuple[NoveltyDay, ...]) -> Chart | None:
    arms = list(dict.fromkeys(arm for day in days for arm in day.lifts))
    if len(days) < 2 or not arms:
        return None
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for arm, color in zip(arms, _COLORS, strict=False):
        numbers = np.array([day.day for day in days if arm in day.lifts])
        middle, low, high = _columns([day.lifts[arm] for day in days if arm in day.lifts])
        axes.vlines(numbers, low, high, color=color, linewidth=1.5)
        axes.plot(numbers, middle, color=color, marker="o", markersize=5, label=arm)
    axes.set_xlabel("Days since the first exposure")
    caption = (
        "Difference on each day after the exposure, among units watched that long; an effect that shrinks to "
        "nothing was novelty. Intervals hold for one day each."
    )
    return _finish(figure, axes, "Does it wear off?", caption, len(arms))


def _dates(days: Sequence[Day]) -> npt.NDArray[Any]:
    return np.array([day.date for day in days], dtype="datetime64[D]")


def _columns(intervals: list[Interval]) -> tuple[list[float], list[float], list[float]]:
    return (
        [_or_nan(each.estimate) for each in intervals],
        [_or_nan(each.low) for each in intervals],
        [_or_nan(each.high) for each in intervals],
    )


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number


def _around(axes: Axes, bounds: list[float]) -> None:
    """Room for the last day's band and every estimate; the first days' bands may run out of the picture."""
    reach = 1.3 * max((abs(bound) for bound in bounds), default=1.0) or 1.0
    axes.set_ylim(-reach, reach)


def _finish(figure: Figure, axes: Axes, title: str, caption: str, num_arms: int) -> Chart:
    axes.axhline(0, color=MUTED, linewidth=1)
    axes.grid(axis="y")
    axes.tick_params(axis="x", labelrotation=0)
    if num_arms > 1:
        axes.legend(frameon=False)
    return Chart(title, caption, as_uri(figure))
