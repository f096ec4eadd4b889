"""Columns of whatever type a file gives them, read as the types of the schema.

A type that can never be what is asked for is an error of the column; a value that cannot is an error of its
row, and is marked, never guessed at. Blank text counts as absent.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import polars as pl

from recsys.errors import DataError
from recsys.schema import ATTRIBUTES, CATEGORY, DAY_MS, TIMESTAMP

REASON: Final = "reason"
"""Why a row is refused; null for a row that is not."""

_LAST_MS = 253_402_300_799_999
_DATE_CHARS = len("2017-12-04")
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def conform(rows: pl.DataFrame, empty: pl.DataFrame, required: Collection[str]) -> pl.DataFrame:
    """Read rows as the columns of another frame.

    Args:
        rows: Rows as a file gave them; columns that ``empty`` lacks are left out.
        empty: The columns wanted, without rows; ``attributes`` is left to ``recsys.attributes``.
        required: Columns that must be there.

    Returns:
        The columns wanted, null where a value is absent or unreadable, and ``reason``: the first column of
        the row that is unreadable, in words, or null.

    Raises:
        DataError: A required column is missing, or a column has a type that cannot be read.
    """
    for name in required:
        if name not in rows.columns:
            raise DataError(f"column {name!r} is required; found the columns {', '.join(rows.columns)}")
    wanted = [name for name in empty.columns if name != ATTRIBUTES]
    table = rows.with_columns(**{name: _read(rows, name, empty) for name in wanted}).select(wanted)
    named = [name for name in wanted if name in rows.columns]
    is_present = rows.select(_is_present(rows, name) for name in named)
    unreadable = [
        pl.when(pl.lit(is_present[name]) & pl.col(name).is_null()).then(
            pl.lit(f"{name} is not {_expected(name, empty)}")
        )
        for name in named
    ]
    return table.with_columns(pl.coalesce(unreadable).alias(REASON))


def is_calendar(rows: pl.DataFrame, name: str) -> bool:
    """Whether a column holds dates or datetimes."""
    return isinstance(rows.schema[name], pl.Date | pl.Datetime)


def is_calendar_time(rows: pl.DataFrame, name: str) -> pl.Expr:
    """Whether a date or datetime lies in the years 1970 to 9999; others cannot always be written as text."""
    return _calendar_ms(rows, name).is_between(0, _LAST_MS)


def _calendar_ms(rows: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    return column.cast(pl.Int64) * DAY_MS if rows.schema[name] == pl.Date else column.dt.timestamp("ms")


def _text_ms(texts: pl.Series) -> pl.Series:
    # One step per frame: inside one expression every step would be computed once per use.
    text, bare, dated, zoned = (pl.col(name) for name in ("text", "bare", "dated", "zoned"))
    utc = text.str.to_uppercase().str.strip_suffix("Z").str.strip_suffix("UTC").str.strip_chars_end()
    is_date = bare.str.len_bytes() == _DATE_CHARS
    has_zone = dated.str.slice(_DATE_CHARS).str.contains("[+-]")
    times = [
        zoned.str.to_datetime(pattern, time_unit="ms", time_zone="UTC", strict=False).dt.timestamp("ms")
        for pattern in ("%+", "%Y-%m-%dT%H:%M%:z")
    ]
    return (
        texts.str.strip_chars()
        .to_frame("text")
        .with_columns(bare=utc)
        .with_columns(dated=pl.when(is_date).then(bare + "T00:00").otherwise(bare.str.replace(" ", "T")))
        .with_columns(zoned=pl.when(has_zone).then(dated).otherwise(dated + "+00:00"))
        .select(milliseconds=pl.coalesce(text.cast(pl.Int64, strict=False), *times))
        .select(_in_range(pl.col("milliseconds")))
        .to_series()
    )


def _read(rows: pl.DataFrame, name: str, empty: pl.DataFrame) -> pl.Expr:
    if name not in rows.columns or rows[name].null_count() == rows.height:
        return pl.lit(None, empty.schema[name])
    read = _READERS[empty.schema[name].base_type()](rows, name)
    if read is None:
        raise DataError(f"column {name!r} has type {rows.schema[name]}, expected {_expected(name, empty)}")
    return read


def _text(rows: pl.DataFrame, name: str) -> pl.Expr | None:
    found = rows.schema[name]
    if not (found.is_integer() or isinstance(found, pl.String | pl.Categorical | pl.Enum)):
        return None
    text = pl.col(name).cast(pl.String)
    return pl.when(text.str.contains(r"\S")).then(text)


def _number(rows: pl.DataFrame, name: str) -> pl.Expr | None:
    found = rows.schema[name]
    if found == pl.String:
        return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.col(name).cast(pl.Float64) if found.is_numeric() else None


def _whole(rows: pl.DataFrame, name: str) -> pl.Expr | None:
    number = _number(rows, name)
    return (
        None
        if number is None
        else pl.when(number == number.floor()).then(number.cast(pl.Int32, strict=False))
    )


def _flag(rows: pl.DataFrame, name: str) -> pl.Expr | None:
    found = rows.schema[name]
    if found == pl.Boolean:
        return pl.col(name)
    if found == pl.String or found.is_integer():
        word = pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase()
        return word.replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)
    return None


def _time(rows: pl.DataFrame, name: str) -> pl.Expr | None:
    found = rows.schema[name]
    if is_calendar(rows, name):
        milliseconds = _in_range(_calendar_ms(rows, name))
    elif found.is_integer() or found.is_float():
        milliseconds = _in_range(pl.col(name).cast(pl.Int64, strict=False))
    elif found == pl.String:
        milliseconds = pl.col(name).map_batches(_text_ms, return_dtype=pl.Int64)
    else:
        return None
    return milliseconds.cast(TIMESTAMP)


def _in_range(milliseconds: pl.Expr) -> pl.Expr:
    return pl.when(milliseconds.is_between(0, _LAST_MS)).then(milliseconds)


def _texts(rows: pl.DataFrame, name: str) -> pl.Expr | None:
    found, column = rows.schema[name], pl.col(name)
    listed: pl.Expr
    if found == pl.String:
        separator = ">" if name == CATEGORY else ","
        listed = pl.when(column.str.contains(r"^\s*[^\s\[]")).then(column.str.split(separator))
    elif isinstance(found, pl.List | pl.Array) and (found.inner == pl.String or found.inner.is_integer()):
        listed = (column if isinstance(found, pl.List) else column.arr.to_list()).cast(pl.List(pl.String))
    else:
        return None
    return listed.list.eval(pl.element().str.strip_chars()).list.filter(pl.element().str.len_bytes() > 0)


_READERS: Final[Mapping[type[pl.DataType], Callable[[pl.DataFrame, str], pl.Expr | None]]] = {
    pl.String: _text,
    pl.Float64: _number,
    pl.Int32: _whole,
    pl.Boolean: _flag,
    pl.Datetime: _time,
    pl.List: _texts,
}

_EXPECTED: Final[Mapping[type[pl.DataType], str]] = {
    pl.String: "text (or whole numbers)",
    pl.Float64: "a number",
    pl.Int32: "a whole number of 32 bits",
    pl.Boolean: "true or false",
    pl.Datetime: "a time between 1970 and 9999, in ISO 8601 or milliseconds since 1970",
    pl.List: "a list of texts, or text with separators ('a > b' for a category, 'a, b' for tags)",
}


def _expected(name: str, empty: pl.DataFrame) -> str:
    return _EXPECTED[empty.schema[name].base_type()]


def _is_present(rows: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name).str.contains(r"\S") if rows.schema[name] == pl.String else pl.col(name).is_not_null()
