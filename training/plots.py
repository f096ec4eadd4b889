"""The charts of an evaluation report, as self-contained images.

Every chart is an SVG in a ``data:`` address, so that a report is one file and needs nothing from elsewhere. A
chart whose numbers are absent is left out. What the numbers mean is in ``training.report``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recsys.drawing import INK, MUTED, OURS, Bar, as_uri, draw_bars, label, single, style

MAX_FEATURES = 20
"""Features shown, strongest first."""
_MAX_CURVES_PER_ROW = 3
_FEW_POINTS = 25

RANKING_QUALITY = "Ranking quality"
"""Title of the chart that opens a report."""
_RANKERS = {"all": "everything", "new": "what is new to the user", "shown": "lists that are shown"}


@dataclass(frozen=True)
class Chart:
    """One image of a report."""

    title: str
    caption: str
    """What to look for, in one sentence."""
    image: str
    """The SVG as a ``data:`` address."""


def charts(report: Mapping[str, Any], curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[Chart]:
    """Draw everything the report has numbers for.

    Args:
        report: An evaluation report, see ``training.report.evaluate_lists``.
        curves: Training curves by name: (step, value) in order.
    """
    gains, parts = report.get("feature_gain", {}), report.get("shap", {})
    with style():
        drawn = [
            _accuracy(report),
            _candidate_recall(report["candidates"]["recall@500"]),
            _curves(curves),
            *(_features(name, gains.get(name, {}), parts.get(name, {})) for name in {**gains, **parts}),
            _calibration(report.get("calibration", {})),
            _timings(report["timings_seconds"]),
        ]
    return [chart for chart in drawn if chart is not None]


def _accuracy(report: Mapping[str, Any]) -> Chart | None:
    parts = {
        "All items": {"model": report["metrics"], **report["baselines"]},
        "Items new to the user": {
            "model": report["slices"]["novel"],
            **{name: block["novel"] for name, block in report["baselines"].items() if "novel" in block},
        },
    }
    rows = {
        title: [
            Bar.of(name, block["ndcg@10"], ours=name == "model")
            for name, block in blocks.items()
            if "ndcg@10" in block
        ]
        for title, blocks in parts.items()
    }
    rows = {title: bars for title, bars in rows.items() if bars}
    figure = Figure(figsize=(9.6, 1.1 + 0.42 * max(map(len, rows.values()))), layout="constrained")
    for axes, (title, bars) in zip(
        figure.subplots(1, len(rows), squeeze=False)[0], rows.items(), strict=True
    ):
        draw_bars(axes, bars)
        axes.set_title(title)
        axes.set_xlabel("NDCG@10")
    return Chart(RANKING_QUALITY, "NDCG@10 with 95 % bootstrap intervals over users.", as_uri(figure))


def _candidate_recall(recall: Mapping[str, Any]) -> Chart | None:
    bars = [Bar.of(name, interval, ours=False) for name, interval in recall["by_source"].items()]
    if "merged" in recall:
        bars.append(Bar.of("merged", recall["merged"], ours=True))
    if not bars:
        return None
    figure, axes = single(len(bars))
    draw_bars(axes, bars)
    axes.set_xlabel("Recall@500")
    caption = "Share of what users wanted that the candidates hold: the ceiling of any ranking behind them."
    return Chart("Candidate recall", caption, as_uri(figure))


def _curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> Chart | None:
    filled = {name: points for name, points in curves.items() if points}
    if not filled:
        return None
    columns = min(_MAX_CURVES_PER_ROW, len(filled))
    rows = math.ceil(len(filled) / columns)
    figure = Figure(figsize=(9.6, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, points) in zip(grid, filled.items(), strict=False):
        steps, values = zip(*points, strict=True)
        marker = "o" if len(points) < _FEW_POINTS else ""
        axes.plot(steps, values, color=OURS, linewidth=1.8, marker=marker, markersize=3)
        axes.set_title(label(name), fontsize=10)
        axes.set_xlabel("step")
        axes.grid(axis="y")
    for axes in list(grid):
        axes.set_axis_off()
    return Chart("Training curves", "How the encoder and the rankers learned, step by step.", as_uri(figure))


def _features(name: str, gain: Mapping[str, float], parts: Mapping[str, float]) -> Chart | None:
    """What a ranker splits on beside what moves its scores, each with its own strongest features."""
    panels = {
        "Share of the splitting gain, per cent": _strongest(gain, 100 / (sum(gain.values()) or 1)),
        "Mean |contribution| to a score (SHAP)": _strongest(parts, 1.0),
    }
    panels = {title: bars for title, bars in panels.items() if bars}
    if not panels:
        return None
    height = 0.9 + 0.26 * max(map(len, panels.values()))
    figure = Figure(figsize=(9.6, height), layout="constrained")
    for axes, (title, bars) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        draw_bars(axes, bars, form="{:.3g}", names_as_they_are=True)
        axes.set_title(title, fontsize=10)
        axes.tick_params(axis="y", labelsize=8)
    caption = "What the trees split on in training, and what moved the scores of the test users' first ten."
    return Chart(f"What the ranker of {_RANKERS.get(name, name)} looks at", caption, as_uri(figure))


def _strongest(values: Mapping[str, float], scale: float) -> list[Bar]:
    """The strongest features as bars; none where every value is 0."""
    ordered = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_FEATURES]
    return [Bar(name, scale * value, ours=True) for name, value in ordered if value > 0]


def _calibration(calibration: Mapping[str, Any]) -> Chart | None:
    bins = calibration.get("bins", ())
    if not bins:
        return None
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    predicted, observed = ([bin_[key] for bin_ in bins] for key in ("predicted", "observed"))
    for axes, title in ((left, "As it is"), (right, "On logarithmic axes")):
        _draw_reliability(axes, predicted, observed)
        axes.set_title(title)
    if min(*predicted, *observed) > 0:
        right.set_xscale("log")
        right.set_yscale("log")
    else:
        right.remove()
    caption = (
        "Interest score against what happened, on held-out pairs in bins of equal size; on the line it is "
        f"right. Expected calibration error {calibration['expected_calibration_error']:.4f}."
    )
    return Chart("Calibration of the interest score", caption, as_uri(figure))


def _draw_reliability(axes: Axes, predicted: Sequence[float], observed: Sequence[float]) -> None:
    low, high = min(*predicted, *observed), max(*predicted, *observed)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1.0, linestyle="--")
    axes.plot(predicted, observed, color=OURS, linewidth=1.8, marker="o", markersize=4)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("observed share", color=INK)
    axes.grid()


def _timings(timings: Mapping[str, float]) -> Chart | None:
    if not timings:
        return None
    bars = [Bar(name, seconds) for name, seconds in timings.items()]
    figure, axes = single(len(bars))
    draw_bars(axes, bars, form="{:.1f} s")
    axes.set_xlabel("Seconds")
    return Chart("Where the time went", "Wall-clock seconds per stage.", as_uri(figure))
