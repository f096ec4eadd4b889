"""Filters over item columns, in a subset of the filtering language of https://google.aip.dev/160.

A filter is compiled to one Polars expression, which a catalogue evaluates on its columns once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import polars as pl
from lark import Lark, Token, Transformer, Tree, v_args
from lark.exceptions import UnexpectedInput, VisitError

from recsys.errors import FieldViolation, InvalidRequestError
from recsys.schema import ATTRIBUTES, ITEM_SCHEMA, TIMESTAMP

MAX_CHARS = 1000
"""Longest filter."""
_NUM_COMPILED = 1024

_GRAMMAR = r"""
?start: conjunction
?conjunction: disjunction ("AND" disjunction)*
?disjunction: term ("OR" term)*
?term: "NOT" simple -> negation | "-" simple -> negation | simple
?simple: restriction | "(" conjunction ")"
restriction: COLUMN COMPARATOR value
?value: STRING | NUMBER | WORD | "*" -> anything

COLUMN.2: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_\-]+)*(?=\s*(<=|>=|!=|=|<|>|:))/
COMPARATOR: "<=" | ">=" | "!=" | "=" | "<" | ">" | ":"
STRING: /"(\\.|[^"\\])*"/s | /'(\\.|[^'\\])*'/s
NUMBER.1: /[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?![\w:.\-])/
WORD: /(?!(AND|OR|NOT)\b)[^\s()"'<>=!*]+/
%import common.WS
%ignore WS
"""
_PARSER = Lark(_GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)

_ORDERED: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}
_EQUAL = ("=", "!=")


@dataclass(frozen=True)
class _Literal:
    """The right side of a restriction."""

    text: str
    kind: Literal["string", "number", "word", "anything"]


@lru_cache(_NUM_COMPILED)
def compile_filter(text: str) -> pl.Expr:
    """Read a filter.

    ``AND``, ``OR`` (which binds tighter, as the AIP has it), ``NOT`` or ``-``, parentheses, and restrictions
    of one column by ``= != < <= > >=`` or ``:``. What a column takes depends on its type:

    - text (``brand``, ``title``, ...): ``=`` and ``!=`` the whole text, ``:`` a part of it in any case;
    - lists (``category``, ``tags``): ``:`` one of the elements; every level of a category is one;
    - numbers (``price``) and times (``created_time``, RFC 3339): every comparator but ``:``;
    - ``available``: ``=`` and ``!=`` with ``true`` or ``false``; an item that does not say is available;
    - ``attributes.KEY``: as text, and with a number on the right side as a number.

    ``column:*`` asks whether there is a value. Without one, no comparison holds, ``!=`` no more than the
    others; ``NOT`` of it does.

    Args:
        text: The filter, of at most 1000 characters.

    Returns:
        A boolean expression over a frame of ``recsys.schema.ITEM_SCHEMA``, without nulls.

    Raises:
        InvalidRequestError: It is too long, or says something else; of the field ``filter``.

    Source: AIP-160 "Filtering". Deviation: no functions, no bare values, no sequences without ``AND``.
    """
    if len(text) > MAX_CHARS:
        raise _refused(f"expected at most {MAX_CHARS} characters, got {len(text):,}")
    try:
        tree: Tree[Token] = _PARSER.parse(text)
        compiled = _Compiler().transform(tree)
    except UnexpectedInput as error:
        token, at = getattr(error, "token", None), getattr(error, "pos_in_stream", 0)
        found = "the end" if token is not None and token.type == "$END" else repr(text[at : at + 20])
        raise _refused(
            f'expected comparisons such as category:"Shoes" AND price < 50, got something else at {found}'
        ) from None
    except VisitError as error:
        if isinstance(error.orig_exc, InvalidRequestError):
            raise error.orig_exc from None
        raise
    assert isinstance(compiled, pl.Expr)
    return compiled


@v_args(inline=True)
class _Compiler(Transformer[Token, Any]):
    """From the parse tree to an expression, leaves first."""

    def STRING(self, token: Token) -> _Literal:  # noqa: N802 (the terminal's name)
        return _Literal(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL), "string")

    def NUMBER(self, token: Token) -> _Literal:  # noqa: N802
        return _Literal(str(token), "number")

    def WORD(self, token: Token) -> _Literal:  # noqa: N802
        return _Literal(str(token), "word")

    def anything(self) -> _Literal:
        return _Literal("*", "anything")

    def conjunction(self, *parts: pl.Expr) -> pl.Expr:
        return pl.all_horizontal(parts)

    def disjunction(self, *parts: pl.Expr) -> pl.Expr:
        return pl.any_horizontal(parts)

    def negation(self, part: pl.Expr) -> pl.Expr:
        return ~part

    def restriction(self, column: Token, comparator: Token, value: _Literal) -> pl.Expr:
        return _restriction(str(column), str(comparator), value).fill_null(value=False)


def _restriction(name: str, comparator: str, value: _Literal) -> pl.Expr:
    column, kind = _column(name)
    if value.kind == "anything":
        if comparator != ":":
            raise _refused(f"expected {name}:* to ask whether there is a value, got {name} {comparator} *")
        return column.list.len() > 0 if kind == "list" else column.is_not_null()
    if kind == "list":
        _require(comparator == ":", name, "lists take `:` and one of their elements", comparator)
        return column.list.contains(value.text)
    if kind == "boolean":
        _require(comparator in _EQUAL, name, "takes = or != and true or false", comparator)
        if value.text not in ("true", "false"):
            raise _refused(f"{name} takes true or false, got {value.text[:40]!r}")
        return _ORDERED[comparator](column, value.text == "true")
    if kind == "text":
        return _text(name, column, comparator, value)
    _require(comparator != ":", name, "numbers and times take = != < <= > >=", comparator)
    return _ORDERED[comparator](column, _number(name, value) if kind == "number" else _time(name, value))


def _text(name: str, column: pl.Expr, comparator: str, value: _Literal) -> pl.Expr:
    if comparator == ":":
        return column.str.to_lowercase().str.contains(value.text.lower(), literal=True)
    if name.startswith(f"{ATTRIBUTES}.") and value.kind == "number":
        return _ORDERED[comparator](column.cast(pl.Float64, strict=False), float(value.text))
    _require(comparator in _EQUAL, name, "texts take = != and `:`", comparator)
    return _ORDERED[comparator](column, pl.lit(value.text))


def _column(name: str) -> tuple[pl.Expr, str]:
    """A column, and which kind of value it holds."""
    prefix, _, key = name.partition(".")
    if prefix == ATTRIBUTES and key:
        pairs = pl.element()
        of_key = pairs.filter(pairs.struct.field("key") == key).first().struct.field("value")
        return pl.col(ATTRIBUTES).list.eval(of_key).list.first(), "text"
    if key or prefix == ATTRIBUTES or prefix not in ITEM_SCHEMA:
        columns = ", ".join(column for column in ITEM_SCHEMA if column != ATTRIBUTES)
        raise _refused(f"expected a column of the items ({columns}, {ATTRIBUTES}.KEY), got {name[:40]!r}")
    column, dtype = pl.col(name), ITEM_SCHEMA[name]
    if dtype == pl.Boolean:
        return column.fill_null(value=True), "boolean"
    if isinstance(dtype, pl.List):
        return column, "list"
    if dtype == pl.String:
        return column, "text"
    return column, "number" if dtype == pl.Float64 else "time"


def _number(name: str, value: _Literal) -> float:
    try:
        return float(value.text)
    except ValueError:
        raise _refused(f"{name} is compared with a number, got {value.text[:40]!r}") from None


def _time(name: str, value: _Literal) -> pl.Expr:
    read = pl.Series([value.text]).str.to_datetime(time_unit="ms", time_zone="UTC", strict=False)
    if read.null_count():
        raise _refused(
            f'{name} is compared with a time such as "2026-01-31T12:00:00Z", got {value.text[:40]!r}'
        )
    return pl.lit(read[0], TIMESTAMP)


def _refused(problem: str) -> InvalidRequestError:
    return InvalidRequestError(FieldViolation("filter", problem))


def _require(holds: bool, name: str, takes: str, comparator: str) -> None:
    if not holds:
        raise _refused(f"{name}: {takes}; got {comparator!r}")
