"""Profanity, personal data, links, and templates of prompts."""

from collections.abc import Iterator
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import Reason
from recsys.blurbs.wording import folded

_EMAIL: Final = regex.compile(
    r"[\w.+-]+\s?(?:@|\(at\)|\[at\]|＠)\s?[\w-]+(?:\.|\s?\(dot\)\s?)[\p{L}]{2,}", regex.IGNORECASE
)
_URL: Final = regex.compile(
    r"\b(?:https?|ftp|file|javascript|data|mailto):\S+|\bwww\.\S+|//\w[\w.-]+"
    r"|\b[\w-]+\.(?:com|net|org|info|biz|shop|store|online|io|ai|app|dev|me|tv|xyz|de|at|ch|eu|uk|co|us|fr|es|it|nl|cn|jp|ru)\b(?:/\S*)?",
    regex.IGNORECASE,
)
_PHONE: Final = regex.compile(
    r"(?<![\w.,])(?:\+|00)\d{1,3}[\s()./-]*\d(?:[\s()./-]*\d){5,12}(?!\w)|(?<![\w.,])\(?0\d{1,4}\)?[\s/-]+\d(?:[\s/-]?\d){4,9}(?!\w)"
    r"|(?<![\w.,])\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}(?!\w)|(?<!\d)1[3-9]\d{9}(?!\d)|(?<!\d)\d{3}-\d{4}(?!\d)"
)
_LONG_NUMBER: Final = regex.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IBAN: Final = regex.compile(r"\b[A-Z]{2}\d{2}(?: ?[\dA-Z]{4}){3,7}(?: ?[\dA-Z]{1,3})?\b")
_HANDLE: Final = regex.compile(r"(?<![\w.])[@#][\p{L}_]\w{2,}")
_TEMPLATE: Final = regex.compile(
    r"<\|[^|]*\|>|<\/?(?:think|s|system|user|assistant)>|\{\{.*?\}\}|\[/?INST\]|###", regex.IGNORECASE
)
_WORD: Final = regex.compile(r"[\p{L}\d@$!*+]+")
_LEET: Final = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "+": "t"}
)
_PERSON_ATTRIBUTES: Final = (
    "author",
    "actor",
    "actors",
    "director",
    "writer",
    "artist",
    "autor",
    "schauspieler",
    "regie",
)


def check(examined: Examined) -> Iterator[Reason]:
    """Yield reasons about words, people, links and templates of prompts."""
    text = examined.text
    yield from _profanity(examined)
    for pattern in (_EMAIL, _PHONE, _IBAN):
        yield from examined.reasons("personal_data", examined.matches(pattern))
    for number in _LONG_NUMBER.finditer(text):
        if _is_card(number[0]):
            yield examined.reason("personal_data", *number.span())
    for pattern in (_URL, _HANDLE):
        yield from examined.reasons("link", examined.matches(pattern))
    yield from examined.reasons("prompt_echo", examined.matches(_TEMPLATE))


def _profanity(examined: Examined) -> Iterator[Reason]:
    listed, exempt = examined.lexicon.profanity, _exempt(examined)
    for match in _WORD.finditer(examined.text):
        word = folded(match[0].casefold()).rstrip("!*")
        spelled = {word, word.translate(_LEET), word.replace("*", "").translate(_LEET)}
        if spelled & listed and word not in exempt:
            yield examined.reason("profanity", *match.span())
    for entry in () if examined.text.isascii() else examined.lexicon.han_profanity:
        start = examined.text.find(entry)
        if start >= 0 and not examined.is_quoted(start, start + len(entry)):
            yield examined.reason("profanity", start, start + len(entry))


def _exempt(examined: Examined) -> frozenset[str]:
    """Words of title, brand and people's names, such as *Moby Dick*."""
    facts = examined.facts
    people = [fact.value for fact in facts.attributes if fact.attribute.casefold() in _PERSON_ATTRIBUTES]
    words = _WORD.findall(" ".join([facts.title, facts.brand, *people]))
    return frozenset(folded(word.casefold()) for word in words)


def _is_card(digits: str) -> bool:
    """Luhn's check, which every card number passes."""
    numbers = [int(sign) for sign in reversed(digits) if sign.isdigit()]
    doubled = (sum(divmod(2 * number, 10)) for number in numbers[1::2])
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0
