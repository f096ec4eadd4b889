"""How the charts of reports are drawn: bars, colours and the image itself; what they show is elsewhere."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS = "#2f5fd0"
OTHERS = "#b8c0cc"
INK = "#1f2733"
MUTED = "#6b7686"
GRID = "#e6e9ee"

_LABELS = {
    "als": "ALS",
    "ease": "EASE",
    "item_knn": "Item kNN",
    "model": "This model",
    "tifu_knn": "TIFU-kNN",
    "two_stage_lightgbm": "Two-stage LightGBM",
}


@dataclass(frozen=True)
class Bar:
    """One horizontal bar, with a whisker where there is an interval."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    ours: bool = False

    @classmethod
    def of(cls, name: str, interval: Mapping[str, float], *, ours: bool) -> "Bar":
        """A bar of a value with its interval."""
        return cls(name, interval["value"], interval["low"], interval["high"], ours)


def label(name: str) -> str:
    """A key of the report in words.

    >>> label("personal_frequency"), label("ease")
    ('Personal frequency', 'EASE')
    """
    words = name.replace("_", " ")
    return _LABELS.get(name, words[:1].upper() + words[1:])


def style() -> AbstractContextManager[None]:
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


def single(num_bars: int) -> tuple[Figure, Axes]:
    """A figure of one chart that has room for so many bars."""
    figure = Figure(figsize=(9.6, 0.9 + 0.34 * num_bars), layout="constrained")
    return figure, figure.subplots()


def draw_bars(
    axes: Axes, bars: Sequence[Bar], form: str = "{:.4f}", *, names_as_they_are: bool = False
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


def as_uri(figure: Figure) -> str:
    """The figure as an SVG in a ``data:`` address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
