"""Whether a text is too much like the other texts of its category."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import REVIEW, Reason

_PART: Final = regex.compile(r"\p{Han}|[^\P{L}\p{Han}]+|\d+")
_NGRAM: Final = 3
_MOST_ALIKE: Final = 0.7
_MOST_OF_ONE_OPENING: Final = 0.3
_FEWEST_TO_JUDGE: Final = 10


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``duplicate`` for a text much like another, ``worn_opening`` for a beginning many share."""
    if not examined.others:
        return
    own = _shingles(examined.text)
    alike = max(_jaccard(own, _shingles(other)) for other in examined.others)
    if alike >= _MOST_ALIKE:
        yield Reason("duplicate", f"{alike:.2f} alike to another text", severity=REVIEW)
    opening = _opening(examined.text)
    share = sum(_opening(other) == opening for other in examined.others) / len(examined.others)
    if len(examined.others) >= _FEWEST_TO_JUDGE and share > _MOST_OF_ONE_OPENING:
        yield Reason("worn_opening", " ".join(opening), severity=REVIEW)


@lru_cache(maxsize=16_384)
def _parts(text: str) -> tuple[str, ...]:
    return tuple(_PART.findall(text.casefold()))


@lru_cache(maxsize=16_384)
def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    parts = _parts(text)
    return frozenset(parts[place : place + _NGRAM] for place in range(max(1, len(parts) - _NGRAM + 1)))


def _opening(text: str) -> tuple[str, ...]:
    return _parts(text)[:_NGRAM]


def _jaccard(first: frozenset[tuple[str, ...]], second: frozenset[tuple[str, ...]]) -> float:
    return len(first & second) / max(len(first | second), 1)
