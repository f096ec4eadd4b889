"""Parts of the units, looked at apart: to localise a mismatch or to find a question for the next experiment.

Exploratory: p-values are corrected by Benjamini and Hochberg over all segments and arms, and decide nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from recsys.experiments.bulk import ARM
from recsys.experiments.definition import Experiment
from recsys.experiments.metric_analysis import analyze_metric
from recsys.experiments.multiplicity import correct
from recsys.experiments.result import Segment
from recsys.experiments.sample_ratio import check_sample_ratio

MAX_VALUES = 20
"""Most frequent values of a column that are shown; the others are left out."""


def by_segment(experiment: Experiment, frame: pl.DataFrame, columns: Sequence[str]) -> tuple[Segment, ...]:
    """Compare the arms on the primary metric within every value of every column.

    Args:
        experiment: The definition.
        frame: One row per unit, in order of arm, with the columns.
        columns: What is looked at; attributes that the experiment cannot change.
    """
    segments = [
        _segment(experiment, column, value, frame.filter(pl.col(column).eq_missing(pl.lit(value))))
        for column in columns
        for value in _frequent(frame[column])
    ]
    families = correct([segment.comparisons for segment in segments], "benjamini_hochberg")
    return tuple(
        replace(segment, comparisons=family) for segment, family in zip(segments, families, strict=True)
    )


def _frequent(column: pl.Series) -> list[object]:
    counts = column.to_frame("value").group_by("value").len().sort(["len", "value"], descending=[True, False])
    return counts["value"].head(MAX_VALUES).to_list()


def _segment(experiment: Experiment, column: str, value: object, part: pl.DataFrame) -> Segment:
    counted = dict(part.group_by(ARM).len().iter_rows())
    units = {arm.key: counted.get(arm.key, 0) for arm in experiment.arms}
    srm = check_sample_ratio(units, {arm.key: arm.weight for arm in experiment.arms})
    result, _ = analyze_metric(experiment, part, experiment.primary)
    return Segment(column, str(value), units, srm, result.comparisons)
