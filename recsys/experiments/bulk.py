"""Files of units in, files of arms out."""

from pathlib import Path

import polars as pl

from recsys.errors import ConfigError, DataError
from recsys.experiments.assignment import NOBODY, assign
from recsys.experiments.definition import load_experiment

UNIT_ID, ARM, BUCKET = "unit_id", "arm", "bucket"


def assign_file(definition: Path, units: Path, coverage: float | None = None) -> pl.DataFrame:
    """The arm of every unit of a file.

    Args:
        definition: A definition's TOML file.
        units: CSV or Parquet with a column ``unit_id``; the other columns are attributes for the targeting.
        coverage: Instead of the definition's.

    Returns:
        Columns ``unit_id``, ``arm`` (null where a unit takes no part) and ``bucket`` (0 to 9,999).

    Raises:
        ConfigError: The definition is wrong, or the file cannot be read.
        DataError: There is no column ``unit_id``, or an id is missing or there twice.
    """
    experiment = load_experiment(definition)
    frame = _read(units)
    ids = frame[UNIT_ID].to_list()
    attributes = None
    if experiment.targeting.strip():
        rows = frame.drop(UNIT_ID).iter_rows(named=True)
        attributes = [{name: value for name, value in row.items() if value is not None} for row in rows]
    found = assign(experiment, ids, coverage, attributes)
    keys = pl.Series([*(arm.key for arm in experiment.arms), None], dtype=pl.String)
    numbers = pl.Series(found.arms).replace(NOBODY, len(experiment.arms))
    return pl.DataFrame(
        {UNIT_ID: frame[UNIT_ID], ARM: keys.gather(numbers), BUCKET: pl.Series(found.buckets)}
    )


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet or CSV, as the name ends."""
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)


def _read(path: Path) -> pl.DataFrame:
    try:
        # without a guess at the types: 007 and 7 are two units
        parquet = path.suffix == ".parquet"
        frame = pl.read_parquet(path) if parquet else pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"the units {path} cannot be read: {error}") from error
    if UNIT_ID not in frame.columns:
        raise DataError(f"{path}: expected a column {UNIT_ID}, got {', '.join(frame.columns) or 'none'}")
    frame = frame.cast(pl.String)
    missing, twice = frame[UNIT_ID].null_count(), len(frame) - frame[UNIT_ID].n_unique()
    if missing or twice:
        raise DataError(
            f"{path}: expected one row per unit, got {missing:,} without {UNIT_ID} and {twice:,} repeated; "
            "leave them out"
        )
    return frame
