"""The data of an experiment, one row per unit: read, checked and put in order.

Columns: ``unit_id``, ``arm``, those that the metrics name and, where known, ``exposure_time`` (when the unit
first met the experiment), for the course over time. What cannot be read at all is an error; what can
be left out or set apart is a ``Problem``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.experiments.bulk import ARM, UNIT_ID
from recsys.experiments.data_quality import Problem
from recsys.experiments.definition import Experiment

EXPOSURE_TIME = "exposure_time"
"""Optional; ``datetime``, UTC where it has no zone."""
MAX_MIXED_SHARE = 0.01
"""Share of units in several arms above which assignment or logging is broken."""
_NUM_SHOWN = 5


@dataclass(frozen=True)
class UnitTable:
    """Units that can be analysed, in order of arm."""

    frame: pl.DataFrame
    """One row per unit: ``arm`` as text, metric columns as ``f64``, the rest as it came."""
    problems: tuple[Problem, ...] = ()

    @property
    def units(self) -> dict[str, int]:
        """Number of units by arm; arms without units are absent."""
        return dict(self.frame.group_by(ARM, maintain_order=True).len().iter_rows())


def read_units(path: Path, experiment: Experiment, segments: Sequence[str] = ()) -> UnitTable:
    """Read a Parquet file; only the columns that are needed.

    Args:
        path: One row per unit.
        experiment: Names arms and metric columns.
        segments: Further columns, to look at parts of the units.

    Raises:
        DataError: It is no Parquet file, or see ``check_units``.
    """
    try:
        scan = pl.scan_parquet(path, hive_partitioning=False)
        schema = scan.collect_schema()
        wanted = [UNIT_ID, ARM, *_metric_columns(experiment), *segments]
        optional = [EXPOSURE_TIME] if EXPOSURE_TIME in schema else []
        present = [name for name in dict.fromkeys([*wanted, *optional]) if name in schema]
        _require_columns(schema.names(), experiment, segments, str(path))
        frame = scan.select(present).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"expected a Parquet file with one row per unit in {path}: {error}") from error
    return check_units(frame, experiment, segments, source=str(path))


def check_units(
    frame: pl.DataFrame, experiment: Experiment, segments: Sequence[str] = (), *, source: str = "the data"
) -> UnitTable:
    """Check a frame with one row per unit.

    Raises:
        DataError: A column is missing or not numeric, or an arm is not of the experiment.
    """
    _require_columns(frame.columns, experiment, segments, source)
    frame, problems = _typed(frame, experiment, source), list[Problem]()
    frame = _without_nobody(frame, problems)
    _require_known_arms(frame, experiment, source)
    frame = _one_row_per_unit(frame, problems)
    return UnitTable(frame.sort(ARM, maintain_order=True), tuple(problems))


def _metric_columns(experiment: Experiment) -> list[str]:
    return list(dict.fromkeys(name for metric in experiment.metrics for name in metric.columns))


def _require_columns(
    names: Sequence[str], experiment: Experiment, segments: Sequence[str], source: str
) -> None:
    owners = {UNIT_ID: "every unit", ARM: "every unit"} | dict.fromkeys(segments, "--segment")
    for metric in experiment.metrics:
        owners |= {name: f"metric {metric.name!r}" for name in metric.columns if name not in owners}
    missing = [f"{name!r} (for {owner})" for name, owner in owners.items() if name not in names]
    if missing:
        raise DataError(
            f"{source} lacks the column {', '.join(missing)}; it has {', '.join(names) or 'none'}. Correct "
            "the metric in the definition or add the column"
        )


def _typed(frame: pl.DataFrame, experiment: Experiment, source: str) -> pl.DataFrame:
    columns = _metric_columns(experiment)
    for name in columns:
        kind = frame.schema[name]
        if not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
            raise DataError(f"expected numbers in column {name!r} of {source}, got {kind}; convert it")
    if EXPOSURE_TIME in frame.columns:
        frame = frame.with_columns(_moment(frame, source))
    return frame.with_columns(
        pl.col(UNIT_ID, ARM).cast(pl.String), pl.col(columns).cast(pl.Float64) if columns else []
    )


def _moment(frame: pl.DataFrame, source: str) -> pl.Expr:
    """The exposure time in UTC; texts may mix zones, which a column of times cannot."""
    column, kind = pl.col(EXPOSURE_TIME), frame.schema[EXPOSURE_TIME]
    if isinstance(kind, pl.Datetime):
        return (
            column.dt.replace_time_zone("UTC")
            if kind.time_zone is None
            else column.dt.convert_time_zone("UTC")
        )
    if kind == pl.Date:
        return column.cast(pl.Datetime("ms", "UTC"))
    raise DataError(
        f"expected times in column {EXPOSURE_TIME!r} of {source}, got {kind}, where time zones may be mixed; "
        "write it as a timestamp in UTC, or leave it out"
    )


def _without_nobody(frame: pl.DataFrame, problems: list[Problem]) -> pl.DataFrame:
    nameless = frame[UNIT_ID].is_null() | frame[ARM].is_null()
    if count := int(nameless.sum()):
        message = f"{count:,} rows have no unit_id or no arm and are left out; see why they were logged"
        problems.append(Problem("nameless_units", "warning", message))
        return frame.filter(~nameless)
    return frame


def _require_known_arms(frame: pl.DataFrame, experiment: Experiment, source: str) -> None:
    known = [arm.key for arm in experiment.arms]
    counts = frame.filter(~pl.col(ARM).is_in(known)).group_by(ARM).len().sort(ARM)
    if counts.height:
        strange = ", ".join(f"{arm!r} ({count:,} rows)" for arm, count in counts.head(_NUM_SHOWN).iter_rows())
        raise DataError(f"expected the arms {', '.join(known)} in {source}, got {strange}")


def _one_row_per_unit(frame: pl.DataFrame, problems: list[Problem]) -> pl.DataFrame:
    if frame[UNIT_ID].n_unique() == frame.height:
        return frame
    arms = frame.group_by(UNIT_ID).agg(pl.col(ARM).unique().sort())
    mixed = arms.filter(pl.col(ARM).list.len() > 1)
    if mixed.height:
        frame = frame.join(mixed, on=UNIT_ID, how="anti")
        problems.append(_mixed(mixed.height, arms.height))
    single = frame.unique(UNIT_ID, keep="first", maintain_order=True)
    if copies := frame.height - single.height:
        differing = frame.unique().height - single.height
        problems.append(_duplicates(copies, differing))
    return single


def _mixed(count: int, total: int) -> Problem:
    share = count / total
    message = (
        f"{count:,} units ({share:.2%}) were in several arms and are left out; see that assignment is sticky "
        "and that exposures name the unit"
    )
    return Problem("mixed_arms", "blocking" if share > MAX_MIXED_SHARE else "warning", message)


def _duplicates(copies: int, differing: int) -> Problem:
    if differing:
        message = (
            f"{copies:,} rows repeat a unit, {differing:,} of them with other values; the data must have one "
            "row per unit: sum or join them first"
        )
        return Problem("duplicate_units", "blocking", message)
    return Problem("duplicate_units", "warning", f"{copies:,} rows repeat a unit exactly and are left out")
