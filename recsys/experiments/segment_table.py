"""Segments for a terminal: the primary metric in parts of the units, which decides nothing."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from recsys.experiments.result import Segment
from recsys.experiments.result_table import interval_text, p_text

_CAPTION = (
    "exploratory: these rows decide nothing; p-values are corrected by Benjamini and Hochberg over all of "
    "them. '!' marks a sample ratio mismatch"
)


def segment_table(metric: str, segments: Sequence[Segment]) -> Table:
    """Every segment and arm, a row each.

    Args:
        metric: The primary one's name.
        segments: In the order they are shown.
    """
    table = Table(title=f"{metric} by segment", caption=_CAPTION, show_lines=True)
    for heading in ("segment", "arm"):
        table.add_column(heading)
    for heading in ("units", "difference", "relative", "adjusted p"):
        table.add_column(heading, justify="right")
    for segment in segments:
        units = f"{sum(segment.units.values()):,}" + ("" if segment.srm.ok else " !")
        name = f"{segment.column} = {segment.value}"
        if not segment.comparisons:
            table.add_row(Text(name), "-", units, "-", "-", "-")
        for each in segment.comparisons:
            shown = (interval_text(each.absolute, "+.3g"), interval_text(each.relative, "+.2%"))
            table.add_row(Text(name), Text(each.arm), units, *shown, p_text(each.adjusted_p_value))
    return table
