"""The charts of the quality report, as self-contained images."""

from dataclasses import dataclass

from matplotlib.ticker import PercentFormatter

from recsys.blurbs.quality.report import QualityReport
from recsys.drawing import Bar, as_uri, draw_bars, single, style

_MOST_REASONS = 15


@dataclass(frozen=True)
class Chart:
    """One image of the report."""

    title: str
    caption: str
    image: str
    """The SVG as a ``data:`` address."""


def charts(report: QualityReport) -> list[Chart]:
    """Draw everything that the report has numbers for."""
    with style():
        drawn = [_stopped(report), _auroc(report), _reasons(report), _segments(report)]
    return [chart for chart in drawn if chart is not None]


def _stopped(report: QualityReport) -> Chart | None:
    bars = [
        Bar(one.kind, one.stopped, one.stopped_low, one.stopped_high, ours=True) for one in report.detection
    ]
    caption = "Share of false texts, made of the shop's own, that the gate does not let pass. 95 % intervals."
    return _chart("False texts that are stopped", caption, bars)


def _auroc(report: QualityReport) -> Chart | None:
    bars = [Bar(one.kind, one.auroc, one.auroc_low, one.auroc_high, ours=True) for one in report.detection]
    caption = "How likely a true text scores above a false one; 0.5 is chance. Bootstrapped over items, 95 %."
    return _chart("True and false texts told apart (AUROC)", caption, bars, form="{:.3f}")


def _reasons(report: QualityReport) -> Chart | None:
    reasons = list(report.models.reasons.items())[:_MOST_REASONS]
    caption = "Share of the models' texts that each reason speaks against; a text may have several."
    return _chart("Why texts do not pass", caption, [Bar(code, share) for code, share in reasons])


def _segments(report: QualityReport) -> Chart | None:
    bars = [Bar(one.name, one.rejected) for one in report.segments if one.rejected is not None]
    caption = "Share of judged texts that did not pass. Nobody should get worse texts for what they like."
    return _chart("Segments", caption, bars) if len(bars) > 1 else None


def _chart(title: str, caption: str, bars: list[Bar], form: str = "{:.1%}") -> Chart | None:
    if not bars:
        return None
    figure, axes = single(len(bars))
    draw_bars(axes, bars, form, names_as_they_are=True)
    if form.endswith("%}"):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    return Chart(title, caption, as_uri(figure))
