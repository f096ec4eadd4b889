"""Words that make a number a limit or a rate: *under 3*, *from 3*, *3 g per slice*."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import regex

_REACH: Final = 14
_PLUS: Final = regex.compile(r"\s?\+")
_HAN: Final = regex.compile(r"\p{Han}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Finds what bounds a number.

    Attributes:
        before: Matches the words directly before a number, a group per kind.
        after: Matches the words directly after it, a group per kind.
    """

    before: "regex.Pattern[str]"
    after: "regex.Pattern[str]"

    @classmethod
    def of(cls, tree: Mapping[str, Mapping[str, Iterable[str]]]) -> "Bounds":
        """Compile.

        Args:
            tree: Kinds, such as ``below``, ``above`` and ``each``, with phrases ``before`` and ``after`` a
                number.
        """
        before = _groups(tree, "before")
        return cls(
            regex.compile(rf"(?:{before})[\s\p{{P}}]*$" if before else "(?!)", regex.IGNORECASE),
            regex.compile(rf"[\s\p{{P}}]*(?:{_groups(tree, 'after') or '(?!)'})", regex.IGNORECASE),
        )

    def of_number(self, text: str, start: int, end: int) -> str:
        """The kind of limit that a number of a text is; ``""`` for none."""
        found = self.before.search(text[max(0, start - _REACH) : start]) or self.after.match(text, end)
        if found:
            return str(found.lastgroup)
        return "above" if _PLUS.match(text, end) else ""


def _groups(tree: Mapping[str, Mapping[str, Iterable[str]]], side: str) -> str:
    found = []
    for kind, sides in tree.items():
        phrases = sorted(map(str, sides.get(side, ())), key=len, reverse=True)
        if phrases:
            found.append(rf"(?P<{kind}>{'|'.join(map(_phrase, phrases))})")
    return "|".join(found)


def _phrase(phrase: str) -> str:
    escaped = r"\s+".join(map(regex.escape, phrase.split()))
    return escaped if _HAN.search(phrase) else rf"(?<!\p{{L}}){escaped}(?!\p{{L}})"
