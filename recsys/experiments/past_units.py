"""What units did before there was an experiment: the ground for planning and rehearsing one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.experiments.bulk import ARM, UNIT_ID
from recsys.experiments.definition import Experiment
from recsys.experiments.log_metrics import exposed_log
from recsys.experiments.logins import with_persons
from recsys.experiments.persons import FIRST_EXPOSURE
from recsys.experiments.unit_table import UnitTable, check_units
from recsys.schema import EFFECTIVE_TIME, TIMESTAMP, USER_ID
from recsys.workspace import Workspace

DEFAULT_WINDOW_DAYS = 28.0
"""Days a unit is watched for, where the definition has no window."""


def history_from_file(path: Path, experiment: Experiment) -> UnitTable:
    """Units of a Parquet file with the columns that the metrics name; arms, where it has any, do not matter.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    try:
        frame = pl.read_parquet(path, hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"expected a Parquet file with one row per unit in {path}: {error}") from error
    if UNIT_ID not in frame.columns:
        frame = frame.with_row_index(UNIT_ID)
    return check_units(_in_control(frame, experiment), experiment, source=str(path))


def history_from_log(workspace: Workspace, experiment: Experiment) -> UnitTable:
    """Users of the log's last weeks, each watched for one window from the first event on.

    Raises:
        DataError: The log is shorter than two windows, or a metric names a column that the log does not give.
    """
    window = timedelta(days=experiment.analysis.window_days or DEFAULT_WINDOW_DAYS)
    log = EventLog(workspace.events)
    end = datetime.fromtimestamp((log.end_ms() or 0) / 1000, UTC) + timedelta(milliseconds=1)
    start, until = end - 2 * window, end - window
    time = pl.col(EFFECTIVE_TIME)
    events = log.scan()
    within = (time >= pl.lit(start).cast(TIMESTAMP)) & (time < pl.lit(until).cast(TIMESTAMP))
    acted = with_persons(events.filter(within), log.merges(), subject=USER_ID, time=EFFECTIVE_TIME)
    first = acted.group_by(UNIT_ID).agg(time.min().alias(FIRST_EXPOSURE)).sort(UNIT_ID).collect()
    units = _in_control(first, experiment)
    if units.height < 2:
        raise DataError(
            f"expected events over two windows of {window.days} days in {workspace.events}, got "
            f"{units.height} users in the first; ingest more, give analysis.window_days, or give --data"
        )
    metrics = exposed_log(events, units, end, log.merges()).metrics(end=window)
    return check_units(metrics, experiment, source="the log")


def _in_control(frame: pl.DataFrame, experiment: Experiment) -> pl.DataFrame:
    return frame.with_columns(pl.lit(experiment.control.key).alias(ARM))
