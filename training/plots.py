"""The charts of an evaluation report, as self-contained images.

Every chart is an SVG in a ``data:`` address, so that a report is one file and needs nothing from elsewhere. A
chart whose numbers are absent is left out. What the numbers mean is in ``training.report``.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS = "#2f5fd0"
OTHERS = "#b8c0cc"
INK = "#1f2733"
MUTED = "#6b7686"
GRID = "#e6e9ee"
MAX_FEATURES = 20
"""Features shown, strongest first."""

_LABELS = {"als": "ALS", "ease": "EASE", "item_knn": "Item kNN", "model": "This model"}


@dataclass(frozen=True)
class Chart:
    """One image of a report."""

    title: str
    caption: str
    """What to look for, in one sentence."""
    image: str
    """The SVG as a ``data:`` address."""


@dataclass(frozen=True)
class _Bar:
    name: str
    value: float
    low: float
    high: float
    ours: bool

    @classmethod
    def of(cls, name: str, interval: Mapping[str, float], *, ours: bool) -> "_Bar":
        return cls(name, interval["value"], interval["low"], interval["high"], ours)


def label(name: str) -> str:
    """A key of the report in words.

    >>> label("personal_frequency"), label("ease")
    ('Personal frequency', 'EASE')
    """
    words = name.replace("_", " ")
    return _LABELS.get(name, words[:1].upper() + words[1:])


def charts(
    report: Mapping[str, Any],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    feature_gain: Mapping[str, float],
) -> list[Chart]:
    """Draw everything the report has numbers for.

    Args:
        report: An evaluation report, see ``training.report.evaluate_lists``.
        curves: Training curves by name: (step, value) in order.
        feature_gain: The ranker's total gain per feature.
    """
    with _style():
        drawn = (
            _accuracy(report),
            _candidate_recall(report["candidates"]["recall@500"]),
            _curves(curves),
            _feature_gain(feature_gain),
            _timings(report["timings_seconds"]),
        )
    return [chart for chart in drawn if chart is not None]


def _style() -> AbstractContextManager[None]:
    """Settings for the time of drawing; matplotlib's own are left as they are."""
    return mpl.rc_context(
        {
            "font.size": 10.0,
            "text.color": INK,
            "axes.labelcolor": MUTED,
            "axes.edgecolor": GRID,
            "axes.titlesize": 11.0,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "xtick.color": MUTED,
            "ytick.color": INK,
            "xtick.bottom": False,
            "ytick.left": False,
            "svg.hashsalt": "recsys",
        }
    )


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
            _Bar.of(name, block["ndcg@10"], ours=name == "model")
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
        _draw_bars(axes, bars)
        axes.set_title(title)
        axes.set_xlabel("NDCG@10")
    return Chart("Ranking quality", "NDCG@10 with 95 % bootstrap intervals over users.", _as_uri(figure))


def _candidate_recall(recall: Mapping[str, Any]) -> Chart | None:
    bars = [_Bar.of(name, interval, ours=False) for name, interval in recall["by_source"].items()]
    if "merged" in recall:
        bars.append(_Bar.of("merged", recall["merged"], ours=True))
    if not bars:
        return None
    figure, axes = _single(len(bars))
    _draw_bars(axes, bars)
    axes.set_xlabel("Recall@500")
    caption = "Share of what users wanted that the candidates hold: the ceiling of any ranking behind them."
    return Chart("Candidate recall", caption, _as_uri(figure))


def _curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> Chart | None:
    filled = {name: points for name, points in curves.items() if points}
    if not filled:
        return None
    columns = min(3, len(filled))
    rows = math.ceil(len(filled) / columns)
    figure = Figure(figsize=(9.6, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, points) in zip(grid, filled.items(), strict=False):
        steps, values = zip(*points, strict=True)
        axes.plot(
            steps, values, color=OURS, linewidth=1.8, marker="o" if len(points) < 25 else "", markersize=3
        )
        axes.set_title(label(name))
        axes.set_xlabel("step")
        axes.grid(axis="y")
    for axes in list(grid):
        axes.set_axis_off()
    return Chart("Training curves", "How the text encoder learned, step by step.", _as_uri(figure))


def _feature_gain(feature_gain: Mapping[str, float]) -> Chart | None:
    total = sum(feature_gain.values())
    if total <= 0:
        return None
    strongest = sorted(feature_gain.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_FEATURES]
    bars = [_Bar(name, 100 * gain / total, math.nan, math.nan, ours=True) for name, gain in strongest]
    figure, axes = _single(len(bars))
    _draw_bars(axes, bars, form="{:.1f} %", names_as_they_are=True)
    axes.set_xlabel("Share of the ranker's total gain, per cent")
    return Chart(
        "What the ranker looks at", "Features by their share of the splitting gain.", _as_uri(figure)
    )


def _timings(timings: Mapping[str, float]) -> Chart | None:
    if not timings:
        return None
    bars = [_Bar(name, seconds, math.nan, math.nan, ours=False) for name, seconds in timings.items()]
    figure, axes = _single(len(bars))
    _draw_bars(axes, bars, form="{:.1f} s")
    axes.set_xlabel("Seconds")
    return Chart("Where the time went", "Wall-clock seconds per stage.", _as_uri(figure))


def _single(num_bars: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.6, 0.9 + 0.34 * num_bars), layout="constrained")
    return figure, figure.subplots()


def _draw_bars(
    axes: Axes, bars: Sequence[_Bar], form: str = "{:.4f}", *, names_as_they_are: bool = False
) -> None:
    """Horizontal bars from the top down, with whiskers where there is an interval."""
    rows = range(len(bars))
    colors = [OURS if bar.ours else OTHERS for bar in bars]
    axes.barh(rows, [bar.value for bar in bars], height=0.62, color=colors)
    reach = max(bar.value if math.isnan(bar.high) else bar.high for bar in bars) or 1.0
    for row, bar in zip(rows, bars, strict=True):
        end = bar.value
        if not math.isnan(bar.high):
            axes.plot([bar.low, bar.high], [row, row], color=INK, linewidth=1.2)
            end = bar.high
        weight = "bold" if bar.ours and len(bars) > 1 else "normal"
        axes.text(end + 0.02 * reach, row, form.format(bar.value), va="center", fontsize=9, fontweight=weight)
    axes.set_yticks(rows, [bar.name if names_as_they_are else label(bar.name) for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, 1.2 * reach)
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)


def _as_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
