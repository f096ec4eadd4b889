"""Rows of a file or of a directory of files, as the files give them."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import polars as pl

from recsys.columns import REASON
from recsys.errors import DataError

ROW: Final = "row"
"""A refused row, as JSON."""

REJECT_SCHEMA: Final = pl.Schema({ROW: pl.String(), REASON: pl.String()})


@dataclass(frozen=True)
class Source:
    """What was read from one path."""

    rows: pl.DataFrame
    """Rows with the columns and types of the file; CSV is all text."""
    unreadable: pl.DataFrame
    """Lines that are no row at all; columns of ``REJECT_SCHEMA``."""


def read_source(path: Path) -> Source:
    """Read Parquet, CSV (with a header) or JSON Lines, each possibly gzipped, or a directory of them.

    Files and folders whose names start with ``.`` or ``_`` are left alone. A column that some files lack is
    null in their rows.

    Args:
        path: A file or a directory, searched with its sub-directories.

    Raises:
        DataError: There is nothing at ``path``, a file is of another kind or damaged, the files do not fit
            together, or there are no rows.
    """
    sources = [read_file(file) for file in source_files(path)]
    rows = rows_together(path, [source.rows for source in sources])
    require_rows(path, rows.clear(), rows.height)
    return Source(rows, pl.concat([source.unreadable for source in sources]))


def rows_together(path: Path, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of several files, or parts of files, in columns of the types that hold them all.

    Args:
        path: Where they lie, for the error.
        parts: At least one.

    Raises:
        DataError: No type holds what they have in a column of one name.
    """
    try:
        return pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the files in {path} do not have the same types: {_first_line(error)}") from error


def require_rows(path: Path, empty: pl.DataFrame, height: int) -> None:
    """Check that there are rows, and that their columns can be written as text.

    Args:
        path: Where they lie, for the error.
        empty: Their columns, without rows.
        height: How many there are.

    Raises:
        DataError: They are not so.
    """
    if not height:
        raise DataError(f"{path} holds no rows, expected at least one")
    types = empty.schema
    unknown = next((name for name, found in types.items() if not _is_plain(found)), None)
    if unknown is not None:
        raise DataError(
            f"column {unknown!r} of {path} has type {types[unknown]}; write it as text, or leave it out"
        )


def read_lines(path: Path) -> list[bytes]:
    """Read JSON Lines, possibly gzipped, or a directory of them, as lines that nobody has looked at.

    Args:
        path: A file or a directory, as for ``read_source``.

    Returns:
        The lines that are not blank, in order.

    Raises:
        DataError: There is nothing at ``path``, or a file is of another kind, damaged or empty.
    """
    lines: list[bytes] = []
    for file in source_files(path):
        kind, data = _content(file)
        if _PARSERS[kind] is not _jsonl:
            raise DataError(f"{file} is not JSON Lines, expected a name that ends in .jsonl or .jsonl.gz")
        lines += (line for line in data.splitlines() if line.strip())
    return lines


def source_files(path: Path) -> list[Path]:
    """The files that ``read_source`` reads, in order.

    Raises:
        DataError: There is nothing at ``path``.
    """
    if not path.exists():
        raise DataError(f"there is no file or directory {path}")
    if path.is_file():
        return [path]
    found = [file for file in sorted(path.rglob("*")) if file.is_file()]
    found = [
        file
        for file in found
        if not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    ]
    if not found:
        raise DataError(f"the directory {path} holds no files, expected {_KINDS}")
    return found


def read_file(path: Path) -> Source:
    """What one file gives, in its own types; also none of either.

    Raises:
        DataError: The file is of another kind, damaged or empty.
    """
    kind, data = _content(path)
    return _PARSERS[kind](data, path)


def _content(path: Path) -> tuple[str, bytes]:
    is_zipped = path.suffix.lower() == ".gz"
    kind = Path(path.stem).suffix.lower() if is_zipped else path.suffix.lower()
    if kind not in _PARSERS:
        raise DataError(f"cannot tell what {path} is from its name, expected {_KINDS}")
    data = _unzipped(path) if is_zipped else path.read_bytes()
    if not data.strip():
        raise DataError(f"{path} is empty, expected at least one row")
    return kind, data


def _unzipped(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: {error}") from error


def _parquet(data: bytes, path: Path) -> Source:
    try:
        return Source(pl.read_parquet(io.BytesIO(data)), pl.DataFrame(schema=REJECT_SCHEMA))
    except pl.exceptions.PolarsError as error:
        _fail(path, "Parquet", error)


def _csv(data: bytes, path: Path) -> Source:
    try:
        rows = pl.read_csv(io.BytesIO(data), infer_schema=False)
        rejects: list[tuple[str, str]] = []
    except pl.exceptions.PolarsError:
        rows, rejects = _csv_by_line(data, path)
    twice = next((name for name in rows.columns if re.search(r"_duplicated_\d+$", name)), None)
    if twice is not None:
        raise DataError(f"{path} has two columns of one name: {twice.rpartition('_duplicated_')[0]!r}")
    return Source(rows, pl.DataFrame(rejects, REJECT_SCHEMA, orient="row"))


def _csv_by_line(data: bytes, path: Path) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    try:
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header, *fields = [line for line in lines if line]
    except (ValueError, csv.Error) as error:
        _fail(path, "CSV", error)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has two columns of one name: {twice!r}")
    good = [line + [""] * (len(header) - len(line)) for line in fields if len(line) <= len(header)]
    bad = [
        (json.dumps(line), f"line has {len(line)} fields, the header has {len(header)}")
        for line in fields
        if len(line) > len(header)
    ]
    return pl.DataFrame(good, dict.fromkeys(header, pl.String()), orient="row"), bad


def _jsonl(data: bytes, path: Path) -> Source:
    rejects: list[tuple[str, str]] = []
    try:
        rows = _objects(data)
    except pl.exceptions.PolarsError:
        lines = [line for line in data.splitlines() if line.strip()]
        bad = [line.decode(errors="replace") for line in lines if not _is_object(line)]
        rejects = [(json.dumps(line), "line is not a JSON object") for line in bad]
        try:
            rows = _objects(b"\n".join(line for line in lines if _is_object(line)))
        except pl.exceptions.PolarsError as error:
            _fail(path, "JSON Lines (one object per line)", error)
    return Source(rows, pl.DataFrame(rejects, REJECT_SCHEMA, orient="row"))


def _objects(data: bytes) -> pl.DataFrame:
    return pl.read_ndjson(io.BytesIO(data), infer_schema_length=None)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(
            json.loads(line, parse_constant=int), dict
        )  # int refuses the words NaN and Infinity
    except ValueError:
        return False


def _fail(path: Path, kind: str, error: Exception) -> NoReturn:
    raise DataError(f"{path} cannot be read as {kind}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _is_plain(found: object) -> bool:
    if isinstance(found, pl.List | pl.Array):
        return _is_plain(found.inner)
    if isinstance(found, pl.Struct):
        return all(_is_plain(field.dtype) for field in found.fields)
    kinds = pl.String | pl.Boolean | pl.Categorical | pl.Enum | pl.Date | pl.Datetime | pl.Null
    return isinstance(found, kinds) or (isinstance(found, pl.DataType) and found.is_numeric())


_PARSERS: Final[dict[str, Callable[[bytes, Path], Source]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _jsonl,
}
_KINDS: Final = f"a name that ends in {', '.join(_PARSERS)}, or one of these and .gz"
