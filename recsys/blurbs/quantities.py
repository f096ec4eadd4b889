"""Numbers with their units, in figures and in words, compared after conversion."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any, Final, NamedTuple

import regex

BARE: Final = ""
COUNT: Final = "count"
_TOLERANCE: Final = 0.005
_EXACT: Final = 1e-9
_WITH_ARTICLE: Final = ("mass", "volume", "length", "count")
_SHORTEST_WITH_ARTICLE: Final = 3
_FRACTIONS: Final = {"½": 0.5, "¼": 0.25, "¾": 0.75, "⅓": 1 / 3, "⅔": 2 / 3, "⅛": 0.125}
_FIGURES: Final = r"(?:\d+(?:[.,\u00a0']\d+)*|(?<![\d.,])[.,]\d+)(?:\s\d/\d+(?!\d)|[½¼¾⅓⅔⅛])?|[½¼¾⅓⅔⅛]"
_JOINED: Final = regex.compile(
    r"\s?(?:[-\u2010-\u2015~～x×*/+]|to|bis|by|or|and|und|oder|mal|到|至)\s?", regex.IGNORECASE
)
_HAN_DIGITS: Final = {
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_HAN_POWERS: Final = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_HAN_NUMBER: Final = "[一二两三四五六七八九十百千万]+"


class Quantity(NamedTuple):
    """A number in a text.

    Attributes:
        values: What it may mean, in base units; more than one when a comma or point can be read two ways.
        dimension: ``mass``, ``volume``, …; ``count`` for pieces; ``""`` for a number without unit.
        start: Where it begins.
        end: Where it ends with its unit, exclusive.
        factor: Base units in one of its unit.
    """

    values: tuple[float, ...]
    dimension: str
    start: int
    end: int
    factor: float = 1.0

    def is_supported(self, facts: Iterable["Quantity"]) -> bool:
        """Whether one of the facts' quantities says the same; rounding may follow a conversion."""
        return any(
            _comparable(self.dimension, fact.dimension)
            and _agree(self.values, fact.values, _TOLERANCE if self.factor != fact.factor else _EXACT)
            for fact in facts
        )


@dataclass(frozen=True)
class Units:
    """Finds quantities in texts of one language."""

    by_name: Mapping[str, tuple[str, float]]
    number_words: Mapping[str, float]
    decimal_comma: bool
    pattern: Any
    article_pattern: Any
    han_pattern: Any

    @classmethod
    def of(cls, dimensions: Mapping[str, Any], tree: Mapping[str, Any]) -> "Units":
        """Compile the unit table with a language's number words and articles."""
        by_name = {
            spelt: (dimension, float(unit["factor"]))
            for dimension, units in dimensions.items()
            for unit in units.values()
            for name in unit["names"]
            for spelt in (str(name).lower(), str(name).lower().replace(" ", ""))
        }
        words = {str(word).lower(): float(value) for word, value in tree.get("number_words", {}).items()}
        unit = _alternatives(by_name)
        numbers = "|".join(
            [_FIGURES, *(rf"{regex.escape(word)}(?!\p{{L}})" for word in _longest_first(words))]
        )
        articles = "|".join(map(regex.escape, tree.get("articles", ()))) or "(?!)"
        long_names = [
            name
            for name, (dimension, _) in by_name.items()
            if dimension in _WITH_ARTICLE and len(name) > _SHORTEST_WITH_ARTICLE and name.isalpha()
        ]
        return cls(
            by_name,
            words,
            bool(tree.get("decimal_comma")),
            regex.compile(rf"(?<![\p{{Latin}}\d])({numbers})(?:[\s\u00a0-]?({unit}))?", regex.IGNORECASE),
            regex.compile(rf"(?<!\p{{L}})(?:{articles})\s({_alternatives(long_names)})", regex.IGNORECASE),
            regex.compile(
                rf"(?<![\d.])({_HAN_NUMBER})[多余]?({_alternatives([n for n in by_name if _is_han(n)])})"
            ),
        )

    def find(self, text: str, *, either_way: bool = False) -> list[Quantity]:
        """All quantities of a text, by place.

        Args:
            text: Any text.
            either_way: Whether ``1.234`` may mean both, as in facts of unknown language.
        """
        found = _with_shared_units(list(self._numbers(text, either_way=either_way)), text)
        found += self._with_articles(text)
        found += self._in_han(text)
        return sorted(found, key=lambda quantity: quantity.start)

    def code_ends(self, text: str, end: int) -> bool:
        """Whether a letter follows at once, so that a number is part of a code such as ``4K``."""
        return end < len(text) and text[end].isalpha() and not _is_han(text[end])

    def _numbers(self, text: str, *, either_way: bool) -> Iterator[Quantity]:
        for match in self.pattern.finditer(text):
            number, unit = match[1].lower(), match[2]
            if not unit and self.code_ends(text, match.end()):
                continue
            dimension, factor = self.by_name[_squeezed(unit)] if unit else (BARE, 1.0)
            values = self._readings(number, either_way=either_way)
            yield Quantity(
                tuple(value * factor for value in values), dimension, match.start(), match.end(), factor
            )

    def _readings(self, number: str, *, either_way: bool) -> tuple[float, ...]:
        if number in self.number_words:
            return (self.number_words[number],)
        whole, extra = _split_fraction(number)
        if not whole:
            return (extra,)
        plain = regex.sub(r"[\u00a0']", "", whole)
        readings = _both_readings(plain, decimal_comma=self.decimal_comma)
        return tuple(value + extra for value in (readings if either_way else readings[:1]))

    def _with_articles(self, text: str) -> Iterator[Quantity]:
        for match in self.article_pattern.finditer(text):
            dimension, factor = self.by_name[_squeezed(match[1])]
            yield Quantity((factor,), dimension, match.start(), match.end())

    def _in_han(self, text: str) -> Iterator[Quantity]:
        for match in self.han_pattern.finditer(text):
            dimension, factor = self.by_name[match[2]]
            if match[1] in _HAN_POWERS and match[1] != "十":
                continue
            if match[1] != "一" or dimension in {"mass", "volume", "length"}:
                yield Quantity((_han_value(match[1]) * factor,), dimension, match.start(), match.end())


def _with_shared_units(found: list[Quantity], text: str) -> list[Quantity]:
    """``30 x 20 cm``: a number without unit takes that of the number it is joined to."""
    for place in range(len(found) - 2, -1, -1):
        first, second = found[place], found[place + 1]
        if (
            first.dimension == BARE
            and second.dimension != BARE
            and _JOINED.fullmatch(text[first.end : second.start])
        ):
            values = tuple(value * second.factor for value in first.values)
            found[place] = first._replace(values=values, dimension=second.dimension, factor=second.factor)
    return found


def _both_readings(digits: str, *, decimal_comma: bool) -> tuple[float, ...]:
    """A number as its language reads it, then the other way if there is one."""
    marks = [part for part in digits if part in ".,"]
    if not marks:
        return (float(digits),)
    last = marks[-1]
    as_decimal = _parsed(digits, decimal=last)
    if len(set(marks)) > 1:
        return (as_decimal,)
    groups = digits.split(last)
    as_thousands = (
        float("".join(groups)) if groups[0] and all(len(part) == 3 for part in groups[1:]) else None
    )
    if as_thousands is None:
        return (as_decimal,)
    if len(marks) > 1:
        return (as_thousands,)
    is_thousands = (last == ",") != decimal_comma and groups[0] != "0"
    return (as_thousands, as_decimal) if is_thousands else (as_decimal, as_thousands)


def _parsed(digits: str, decimal: str) -> float:
    whole, _, rest = digits.rpartition(decimal)
    return float(f"{regex.sub('[.,]', '', whole) or 0}.{rest}")


def _split_fraction(number: str) -> tuple[str, float]:
    for sign, value in _FRACTIONS.items():
        if number.endswith(sign):
            return number.removesuffix(sign), value
    whole, _, fraction = number.rpartition(" ")
    if "/" not in fraction:
        return number, 0.0
    above, below = fraction.split("/")
    return whole, int(above) / max(int(below), 1)


def _han_value(numeral: str) -> float:
    total, digit = 0, 0
    for sign in numeral:
        if sign in _HAN_DIGITS:
            digit = _HAN_DIGITS[sign]
        else:
            total, digit = total + max(digit, 1) * _HAN_POWERS[sign], 0
    return float(total + digit)


def _comparable(first: str, second: str) -> bool:
    return first == second or {first, second} == {BARE, COUNT}


def _agree(first: Iterable[float], second: Iterable[float], tolerance: float) -> bool:
    return any(isclose(one, other, rel_tol=tolerance) for one in first for other in second)


def _squeezed(unit: str) -> str:
    return regex.sub(r"\s+", " ", unit.lower())


def _alternatives(names: Iterable[str]) -> str:
    return "|".join(map(_bounded, _longest_first(names))) or "(?!)"


def _bounded(name: str) -> str:
    escaped = regex.escape(name).replace(r"\ ", r"\s?")
    return escaped + (r"(?![\p{L}\d])" if name[-1].isalpha() and not _is_han(name) else "")


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (-len(name), name))


def _is_han(text: str) -> bool:
    return "\u4e00" <= text[:1] <= "\u9fff"
