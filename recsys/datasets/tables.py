"""What every data set's adapter hands over, and the two steps that all of them take."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from recsys.errors import DataError


class Tables(NamedTuple):
    """A data set in this project's own columns."""

    items: pl.DataFrame
    """Columns of ``recsys.schema.ITEM_SCHEMA``."""
    events: pl.DataFrame
    """Columns of ``recsys.schema.EVENT_SCHEMA``."""
    users: pl.DataFrame | None = None
    """Columns of ``recsys.schema.USER_SCHEMA``, or ``None`` when nothing is known of the users."""


def read_parquet(path: Path, dataset: str) -> pl.DataFrame:
    """Read one of a data set's files.

    Args:
        path: The file.
        dataset: What the data set is called, for the message.

    Raises:
        DataError: There is no such file, or it is no Parquet.
    """
    try:
        return pl.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}, expected one of {dataset}'s tables") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error


def completed(table: pl.DataFrame, empty: pl.DataFrame) -> pl.DataFrame:
    """The table with every column of an empty one, in its order; those that the table lacks are null."""
    return pl.concat([empty, table], how="diagonal")
