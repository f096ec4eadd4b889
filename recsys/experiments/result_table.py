"""A result for a terminal."""

from rich.table import Table
from rich.text import Text

from recsys.experiments.comparison import Comparison, Interval
from recsys.experiments.result import MetricResult, Result


def result_table(result: Result) -> Table:
    """Every comparison, a row each."""
    analysis, units = result.experiment.analysis, result.units
    counts = ", ".join(f"{arm} {count:,}" for arm, count in units.items())
    ratio = f"sample ratio p = {result.srm.p_value:.3g}"
    caption = f"{1 - analysis.alpha:.0%} intervals, {analysis.method}; {ratio}"
    version = "" if result.version is None else f" (version {result.version})"
    table = Table(title=f"{result.experiment.key}{version}: {counts}", caption=caption, show_lines=True)
    for heading in ("metric", "arm"):
        table.add_column(heading)
    for heading in ("control", "difference", "relative", "adjusted p"):
        table.add_column(heading, justify="right")
    rows: list[tuple[MetricResult, str]] = [(metric, metric.metric.role) for metric in result.metrics]
    rows += [(metric, f"{_cut(metric)}, decides nothing") for metric in result.sensitivity]
    for metric, role in rows:
        for each in metric.comparisons:
            control = f"{metric.arms[each.control].mean:.4g}"
            name = Text(f"{metric.metric.name}\n{_role(role, each)}")
            shown = (interval_text(each.absolute, "+.3g"), interval_text(each.relative, "+.2%"))
            table.add_row(name, Text(each.arm), control, *shown, p_text(each.adjusted_p_value))
    return table


def _cut(metric: MetricResult) -> str:
    return "uncut" if metric.cap is None else f"cut at {metric.cap:.4g}"


def _role(role: str, comparison: Comparison) -> str:
    return role if comparison.guardrail is None else f"{role}: {comparison.guardrail.status}"


def interval_text(interval: Interval, form: str) -> str:
    """Markup for an estimate above its interval, in a format such as ``+.3g``."""
    if interval.estimate is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:{form}}"
    return f"{interval.estimate:{form}}\n[dim]{interval.low:{form}} to {interval.high:{form}}[/dim]"


def p_text(p_value: float | None) -> str:
    """A p-value, or a dash for none."""
    return "-" if p_value is None else f"{p_value:.3g}"
