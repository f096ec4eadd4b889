"""Whether a text has the form of a blurb: one plain, short paragraph without anything hidden in it."""

import unicodedata
from collections.abc import Iterator
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import REJECT, REVIEW, Reason

MAX_GRAPHEMES: Final = 160
MAX_BYTES: Final = 1000
_MOST_MARKS: Final = 3
_GRAPHEME: Final = regex.compile(r"\X")
_INVISIBLE: Final = regex.compile(
    r"[\u202A-\u202E\u2066-\u2069\u200B-\u200F\u2060-\u2064\u2028\u2029\u00AD\u061C\u180E\u115F\u1160\u3164"
    r"\uFE00-\uFE0E\uFEFF\uFFF9-\uFFFD\U000E0000-\U000E01EF]|\p{Cc}|\p{Co}|\p{Cn}|\p{Cs}"
)
_EMOJI_JOINER: Final = regex.compile(
    r"(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\uFE0F])\u200D(?=\p{Extended_Pictographic})"
)
_MARKUP: Final = regex.compile(
    r"</?\p{L}[^<>]*>|&(?:\p{L}+|#\d+);|\*\*|__|`|~~|^\s*(?:#{1,6}\s|[-*+•]\s|\d+[.)]\s|>)|\]\(|!\[|<\||\|>|[{}<>\\]|\[/?INST\]"
    r"|\[(?=[^\]]*\])|\|"
)
_WORDY: Final = regex.compile(r"[\p{L}\p{N}]")
_WORD: Final = regex.compile(r"[\p{L}\p{N}]+")
_SHOUTED: Final = regex.compile(r"\b\p{Lu}{4,}(?:[\s-]+\p{Lu}{2,}){1,}\b|[!?]{2,}|！{2,}")
_REPEATED: Final = regex.compile(
    r"(\X)\1{5,}|\b(\p{L}{2,})(?:\W+\2\b){2,}|(\p{Han}{2,})\3{2,}", regex.IGNORECASE
)
_HALF: Final = 0.5
_SHORTEST_TO_JUDGE: Final = 8


def check(examined: Examined) -> Iterator[Reason]:
    """Yield reasons about length, hidden characters, markup, shouting and repetition."""
    text = examined.text
    if not _WORDY.search(text):
        yield Reason("empty", "a text needs words")
        return
    yield from _length(text)
    yield from _hidden(examined)
    yield from examined.reasons("markup", examined.matches(_MARKUP))
    yield from examined.reasons("shouting", examined.matches(_SHOUTED), REVIEW)
    yield from examined.reasons("repetition", examined.matches(_REPEATED))
    yield from _ratio(text)


def num_graphemes(text: str) -> int:
    """How many characters a reader sees."""
    return len(text) if text.isascii() else len(_GRAPHEME.findall(text))


def _length(text: str) -> Iterator[Reason]:
    graphemes, size = num_graphemes(text), len(text.encode("utf-8", "surrogatepass"))
    if graphemes > MAX_GRAPHEMES:
        yield Reason("too_long", f"{graphemes} characters, at most {MAX_GRAPHEMES}")
    elif size > MAX_BYTES:
        yield Reason("too_long", f"{size} bytes, at most {MAX_BYTES}")


def _hidden(examined: Examined) -> Iterator[Reason]:
    text = examined.text
    if text.isascii() and text.isprintable():
        return
    joiners = {match.start() for match in _EMOJI_JOINER.finditer(text)}
    for match in _INVISIBLE.finditer(text):
        if match.start() not in joiners:
            name = f"U+{ord(match[0]):04X}"
            yield Reason("hidden_characters", name, match.start(), match.end(), REJECT)
    if not unicodedata.is_normalized("NFC", text):
        yield Reason("not_normalised", "expected Unicode normalisation form NFC")
    for match in _GRAPHEME.finditer(text):
        if sum(unicodedata.category(sign) in {"Mn", "Me"} for sign in match[0]) > _MOST_MARKS:
            yield examined.reason("hidden_characters", match.start(), match.end())


def _ratio(text: str) -> Iterator[Reason]:
    words = [word.casefold() for word in _WORD.findall(text)]
    if len(words) >= _SHORTEST_TO_JUDGE and len(set(words)) < len(words) * _HALF:
        yield Reason("repetition", f"{len(set(words))} different words among {len(words)}")
