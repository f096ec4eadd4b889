"""Rows of input files cut into parts of about one size, each of which can be read by itself.

A part is read in the types that hold the rows of all files, so that its rows are those that reading all of
them at once gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

import polars as pl

from recsys.errors import DataError
from recsys.readers import REJECT_SCHEMA, read_file, require_rows, rows_together, source_files
from recsys.runner import Runner, even_parts
from recsys.workspace import atomic_path

_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Span:
    """Neighbouring rows of one file."""

    path: Path
    """A Parquet or Arrow file."""
    start: int
    """Number of its first row."""
    length: int

    def read(self) -> pl.DataFrame:
        """The rows.

        Raises:
            DataError: They are damaged.
        """
        try:
            return _scan(self.path).slice(self.start, self.length).collect()
        except pl.exceptions.PolarsError as error:
            what = str(error).partition("\n")[0]
            raise DataError(f"{self.path} cannot be read as Parquet: {what}") from error


@dataclass(frozen=True)
class Cut:
    """Files as parts."""

    path: Path
    """What was given."""
    empty: pl.DataFrame
    """The columns of all rows, without any."""
    parts: list[list[Span]]
    """In the order of the rows."""
    unreadable: pl.DataFrame
    """See ``recsys.readers.Source``."""

    def read(self, part: Sequence[Span]) -> pl.DataFrame:
        """The rows of a part."""
        return rows_together(self.path, [self.empty, *(span.read() for span in part)])


def cut_rows(runner: Runner, path: Path, scratch: Path) -> Cut:
    """Cut what ``recsys.readers.read_source`` reads, which raises what this raises.

    Args:
        runner: Where files that are not Parquet are converted, each whole.
        path: A file or a directory; like ``scratch``, under the same path for whoever reads.
        scratch: Where converted files go; they are to be kept as long as the parts are read.
    """
    numbered = list(enumerate(source_files(path)))
    files = runner.run(partial(_readable, scratch), numbered, "reading files")
    empty = rows_together(path, [file.empty for file in files])
    require_rows(path, empty, sum(file.height for file in files))
    return Cut(path, empty, _cut(files, runner.num_shards), pl.concat([file.unreadable for file in files]))


@dataclass(frozen=True)
class _Readable:
    """A file whose rows can be read from anywhere in it."""

    path: Path
    empty: pl.DataFrame
    height: int
    unreadable: pl.DataFrame


def _readable(scratch: Path, numbered: tuple[int, Path]) -> _Readable:
    number, path = numbered
    if path.suffix.lower() == ".parquet":
        try:
            rows = _scan(path)
            empty, height = rows.head(0).collect(), rows.select(pl.len()).collect().item()
            return _Readable(path, empty, height, pl.DataFrame(schema=REJECT_SCHEMA))
        except pl.exceptions.PolarsError:
            pass  # what is wrong with it, reading it says
    source = read_file(path)
    converted = scratch / f"{number}.arrow"  # not Parquet, which has no place for every type of JSON
    with atomic_path(converted) as unfinished:
        source.rows.write_ipc(unfinished, compression="zstd", record_batch_size=_BATCH_ROWS)
    return _Readable(converted, source.rows.clear(), source.rows.height, source.unreadable)


def _cut(files: Sequence[_Readable], num_parts: int) -> list[list[Span]]:
    starts = list(accumulate((file.height for file in files), initial=0))
    parts = []
    for part in even_parts(starts[-1], num_parts):
        within = [
            (file.path, max(part.start, start) - start, min(part.stop, start + file.height) - start)
            for file, start in zip(files, starts, strict=False)
        ]
        parts.append([Span(path, first, end - first) for path, first, end in within if first < end])
    return parts


def _scan(path: Path) -> pl.LazyFrame:
    if path.suffix == ".arrow":
        return pl.scan_ipc(path, hive_partitioning=False, glob=False)
    return pl.scan_parquet(path, hive_partitioning=False, glob=False)
