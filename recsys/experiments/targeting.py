"""Whom an experiment is for: a small language over a request's attributes, which are texts.

::

    country in ['DE', 'AT'] and not device = 'tablet'
    app_version >= '2.10.0' or (age between 18 and 30 and exists(newsletter))

- ``=`` (or ``==``), ``!=`` and ``in`` compare texts; with a number on the right side, numbers;
- ``<``, ``<=``, ``>``, ``>=`` and ``between A and B`` (both included) compare numbers, or, with a text such
  as ``'2.10.0'`` on the right side, versions: dot-separated numbers, part by part, where a suffix such as
  ``-beta`` comes before the version itself;
- ``exists(name)`` asks whether there is a value; ``and``, ``or``, ``not`` and parentheses, in any case of
  letters; ``and`` binds tighter than ``or``.

A missing attribute, or one that is no number where a number is compared, makes the *condition* false, ``!=``
and ``not in`` too; ``not`` around it is true then.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, VisitError

Targeting: TypeAlias = Callable[[Mapping[str, str]], bool]
"""Whether somebody with these attributes takes part."""

MAX_CHARS = 2000
"""Longest condition."""
_NUM_COMPILED = 256

_GRAMMAR = r"""
?start: either
?either: both ("or"i both)*
?both: term ("and"i term)*
?term: "not"i term -> negation | condition | "(" either ")"
?condition: NAME COMPARATOR value -> comparison
    | NAME "between"i value "and"i value -> between
    | NAME "in"i "[" value ("," value)* "]" -> is_in
    | NAME "not"i "in"i "[" value ("," value)* "]" -> not_in
    | "exists"i "(" NAME ")" -> exists
?value: STRING | NUMBER

COMPARATOR: "==" | "=" | "!=" | "<=" | ">=" | "<" | ">"
NAME: /(?!(?:and|or|not|in|between|exists)\b)[A-Za-z_][A-Za-z0-9_.\-]*/i
STRING: /"[^"]*"/ | /'[^']*'/
NUMBER: /[+-]?(\d+\.?\d*|\.\d+)/
%import common.WS
%ignore WS
"""
_PARSER = Lark(_GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)

_Value: TypeAlias = str | float
_Version: TypeAlias = tuple[tuple[int, ...], bool, str]

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda mine, theirs: mine == theirs,
    "==": lambda mine, theirs: mine == theirs,
    "!=": lambda mine, theirs: mine != theirs,
    "<": lambda mine, theirs: mine < theirs,
    "<=": lambda mine, theirs: mine <= theirs,
    ">": lambda mine, theirs: mine > theirs,
    ">=": lambda mine, theirs: mine >= theirs,
}


class TargetingError(ValueError):
    """A condition cannot be read."""


@lru_cache(_NUM_COMPILED)
def compile_targeting(text: str) -> Targeting:
    """Read a condition; an empty one is true for everybody.

    >>> compile_targeting("country in ['DE', 'AT']")({"country": "AT"})
    True
    >>> compile_targeting("country != 'DE'")({})
    False

    Raises:
        TargetingError: It says something else, or is longer than 2000 characters.
    """
    if not text.strip():
        return lambda _: True
    if len(text) > MAX_CHARS:
        raise TargetingError(f"expected at most {MAX_CHARS:,} characters, got {len(text):,}")
    try:
        compiled: Targeting = _Compiler().transform(_PARSER.parse(text))
    except UnexpectedInput as error:
        token, at = getattr(error, "token", None), getattr(error, "pos_in_stream", 0)
        found = "the end" if token is not None and token.type == "$END" else repr(text[at : at + 20])
        raise TargetingError(
            f"expected conditions such as country in ['DE'] and age >= 18, got something else at {found}"
        ) from None
    except VisitError as error:
        raise TargetingError(str(error.orig_exc)) from None
    return compiled


@v_args(inline=True)
class _Compiler(Transformer[Token, Any]):
    """From the parse tree to a function, leaves first."""

    def STRING(self, token: Token) -> str:  # noqa: N802  # the terminal's name
        return str(token[1:-1])

    def NUMBER(self, token: Token) -> float:  # noqa: N802
        return float(token)

    def NAME(self, token: Token) -> str:  # noqa: N802
        return str(token)

    def comparison(self, name: str, comparator: Token, value: _Value) -> Targeting:
        compare = _COMPARISONS[comparator]
        ordered = comparator[0] in "<>"
        return _condition(name, _reader(value, ordered=ordered), compare, value)

    def between(self, name: str, low: _Value, high: _Value) -> Targeting:
        if isinstance(low, str) != isinstance(high, str):
            raise TargetingError(f"expected two numbers or two texts around 'and', got {low!r} and {high!r}")
        at_least = self.comparison(name, Token("COMPARATOR", ">="), low)
        at_most = self.comparison(name, Token("COMPARATOR", "<="), high)
        return lambda attributes: at_least(attributes) and at_most(attributes)

    def is_in(self, name: str, *values: _Value) -> Targeting:
        if all(isinstance(value, str) for value in values):
            texts = frozenset(values)
            return lambda attributes: attributes.get(name) in texts
        any_of = [self.comparison(name, Token("COMPARATOR", "="), value) for value in values]
        return lambda attributes: any(equal(attributes) for equal in any_of)

    def not_in(self, name: str, *values: _Value) -> Targeting:
        is_in, exists = self.is_in(name, *values), self.exists(name)
        return lambda attributes: exists(attributes) and not is_in(attributes)

    def exists(self, name: str) -> Targeting:
        return lambda attributes: attributes.get(name) is not None

    def negation(self, condition: Targeting) -> Targeting:
        return lambda attributes: not condition(attributes)

    def both(self, *conditions: Targeting) -> Targeting:
        return lambda attributes: all(condition(attributes) for condition in conditions)

    def either(self, *conditions: Targeting) -> Targeting:
        return lambda attributes: any(condition(attributes) for condition in conditions)


def _condition(
    name: str, read: Callable[[str], Any], holds: Callable[[Any, Any], bool], value: _Value
) -> Targeting:
    """A condition on one attribute; false where that is missing or cannot be read."""
    wanted = read(str(value))
    if wanted is None:
        raise TargetingError(f"expected a number or a version such as '2.10.0' beside {name}, got {value!r}")

    def met(attributes: Mapping[str, str]) -> bool:
        given = attributes.get(name)
        mine = None if given is None else read(given)
        return mine is not None and holds(mine, wanted)

    return met


def _reader(value: _Value, *, ordered: bool) -> Callable[[str], Any]:
    """How both sides are read: as numbers, as versions, or as they are."""
    if isinstance(value, float):
        return _number
    return _version if ordered else str


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _version(text: str) -> _Version | None:
    """Numbers, then whether it is no pre-release, then the suffix; trailing zeros do not count."""
    core, dash, suffix = text.strip().removeprefix("v").partition("-")
    parts = core.split(".")
    if not all(part.isdecimal() for part in parts):
        return None
    numbers = [int(part) for part in parts]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), not dash, suffix
