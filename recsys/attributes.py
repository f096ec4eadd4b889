"""Columns that the schema does not name, kept as key-value pairs of text."""

from collections.abc import Collection

import polars as pl

from recsys.columns import is_calendar, is_calendar_time
from recsys.errors import DataError
from recsys.schema import ATTRIBUTES, ITEM_SCHEMA

_PARTS = {"key", "value"}
_PAIRS = ITEM_SCHEMA[ATTRIBUTES]


def extra_attributes(rows: pl.DataFrame, known: Collection[str]) -> pl.Series:
    """Keep every column outside ``known``, and an ``attributes`` column, as ``list[struct[key, value]]``.

    Values are written as text: lists joined with ``", "``, times in ISO 8601. Absent values make no pair; a
    row without pairs has null.

    Args:
        rows: Rows as a file gave them.
        known: Columns that the schema names.

    Raises:
        DataError: A column's type cannot be written as text.
    """
    lists = [_pairs(rows.select(name for name in rows.columns if name not in known)), _own(rows)]
    given = [pairs for pairs in lists if pairs is not None]
    if not given:
        return pl.Series(ATTRIBUTES, [None] * rows.height, _PAIRS)
    pairs = pl.concat_list(given).list.filter(pl.element().struct.field("value").is_not_null())
    return (
        pl.select(pairs.alias(ATTRIBUTES)).select(pl.when(pl.all().list.len() > 0).then(pl.all())).to_series()
    )


def _own(rows: pl.DataFrame) -> pl.Series | None:
    found = rows.schema.get(ATTRIBUTES)
    if found is None or rows[ATTRIBUTES].null_count() == rows.height:
        return None
    if isinstance(found, pl.Struct):
        return _pairs(rows.select(ATTRIBUTES).unnest(ATTRIBUTES))
    if isinstance(found, pl.List) and isinstance(found.inner, pl.Struct) and set(dict(found.inner)) == _PARTS:
        pair = pl.struct(
            pl.element().struct.field(part).cast(pl.String).alias(part) for part in ("key", "value")
        )
        return rows.select(pl.col(ATTRIBUTES).list.eval(pair).fill_null(pl.lit([], _PAIRS))).to_series()
    raise DataError(
        f"column {ATTRIBUTES!r} has type {found}, expected a struct or a list of (key, value); "
        "or give every attribute a column of its own"
    )


def _pairs(columns: pl.DataFrame) -> pl.Series | None:
    named = [name for name, found in columns.schema.items() if found != pl.Null]
    if not named:
        return None
    pairs = [pl.struct(key=pl.lit(name), value=_as_text(columns, name)) for name in named]
    return columns.select(pl.concat_list(pairs).alias(ATTRIBUTES)).to_series()


def _as_text(rows: pl.DataFrame, name: str) -> pl.Expr:
    found, column = rows.schema[name], pl.col(name)
    if is_calendar(rows, name):
        return pl.when(is_calendar_time(rows, name)).then(column).dt.to_string("iso")
    if isinstance(found, pl.List | pl.Array) and _is_scalar(found.inner):
        listed = column if isinstance(found, pl.List) else column.arr.to_list()
        return listed.cast(pl.List(pl.String)).list.join(", ")
    if _is_scalar(found):
        text = column.cast(pl.String)
        return pl.when(text.str.len_bytes() > 0).then(text)
    raise DataError(
        f"column {name!r} has type {found}, which cannot be kept as an attribute; flatten it or leave it out"
    )


def _is_scalar(found: object) -> bool:
    is_text = isinstance(found, pl.String | pl.Boolean | pl.Categorical | pl.Enum)
    return is_text or (isinstance(found, pl.DataType) and found.is_numeric())
