"""Whether the facts support what a text says, word by word.

A word is supported when the facts have it with the same polarity, in whatever inflection, or have a word
that implies it. Words of grammar, style and use need no support. In Chinese, which has no spaces, every
character has to belong to something supported: a stretch that the facts hold, or a word of style.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined, covered
from recsys.blurbs.verdict import REJECT, REVIEW, Reason
from recsys.blurbs.wording import Word, folded

_HAN_RUN: Final = regex.compile(r"\p{Han}+")
_SENTENCE_START: Final = regex.compile(r"(?:^|[.!?:;\u2026\u2013\u2014][\s\"'\u201c\u201e]*)$")
_LINKS: Final = ("", "s", "n", "es", "en", "er", "e")
_SHORTEST_PART: Final = 3
_SHORTEST_OF_COMPOUND: Final = 4
_LEAST_SUPPORTED: Final = 1 / 3
_LONGEST_HAN: Final = 12
_AUDIENCE_REACH: Final = 3
_HAN_CUE_REACH: Final = 4


@dataclass(frozen=True, slots=True)
class Support:
    """How far the facts carry a text.

    Attributes:
        share: Share of its content words that they support, in [0, 1]; 1 when there are none.
        reasons: ``unsupported`` for each stretch that they do not support, ``unsupported_name`` for names,
            ``no_fact`` where no word is one of theirs.
    """

    share: float
    reasons: tuple[Reason, ...]


def measure(examined: Examined) -> Support:
    """Find what the facts do not support."""
    latin, num_words = _latin(examined)
    han, num_signs = _han(examined)
    total = num_words + num_signs
    missing = len(latin) + sum(reason.end - reason.start for reason in han)
    share = 1 - missing / total if total else 1.0
    found = [*latin, *han]
    if not (num_signs or examined.quantities or _names_a_fact(examined)):
        found.append(Reason("no_fact", "nothing of the item is in it", severity=REVIEW))
    if share < _LEAST_SUPPORTED:
        found = [replace(reason, severity=REJECT) for reason in found]
    return Support(share, tuple(found))


def _names_a_fact(examined: Examined) -> bool:
    """Whether any word is one of the facts': a text of grammar and style alone may be about anything."""
    ground, wording = examined.ground, examined.lexicon.wording
    return any(
        (word.key in ground.keys or word.key in ground.denied_keys or _is_supported(examined, word))
        and not wording.is_function_word(word.text)
        for word in examined.words
    )


def _latin(examined: Examined) -> tuple[list[Reason], int]:
    known = [*((number.start, number.end) for number in examined.quantities), *examined.made_claims]
    content = [
        word
        for place, word in enumerate(examined.words)
        if not _needs_no_fact(examined, place)
        and not covered(known, word.start, word.end)
        and word.text.isalpha()
    ]
    missing = [word for word in content if not _is_supported(examined, word)]
    return [_reason(examined, word) for word in missing], len(content)


def _needs_no_fact(examined: Examined, place: int) -> bool:
    """Whether a word is one of grammar, style or use, and no rival of a word that the facts have."""
    wording, word = examined.lexicon.wording, examined.words[place]
    if wording.is_function_word(word.text):
        return True
    if word.key in examined.ground.rivals or _says_for_whom(examined, place) or _is_trait(examined, place):
        return False
    return wording.is_neutral(word.text) or wording.is_usage(examined.words, place)


def _says_for_whom(examined: Examined, place: int) -> bool:
    """Whether a word says who an item is for, which may be unsafe or untrue."""
    wording, word = examined.lexicon.wording, examined.words[place]
    if not wording.is_audience(word.text):
        return False
    before = examined.words[max(0, place - _AUDIENCE_REACH) : place]
    return examined.ground.is_warned or any(
        folded(one.text.casefold()) in wording.audience_cues for one in before
    )


def _is_trait(examined: Examined, place: int) -> bool:
    """Whether a word such as *new* says what something of the facts is like, and these do not."""
    wording, ground, words = examined.lexicon.wording, examined.ground, examined.words
    if folded(words[place].text.casefold()) not in wording.checkable or place + 1 == len(words):
        return False
    word, after = words[place], words[place + 1]
    is_described = after.key in ground.head_keys or after.key in ground.delicate
    return is_described and (word.key, after.key) not in ground.pairs


def _reason(examined: Examined, word: Word) -> Reason:
    is_name = word.text[0].isupper() and not _SENTENCE_START.search(examined.text[: word.start])
    if is_name and examined.lexicon.language != "de":  # where every noun has a capital letter
        return examined.reason("unsupported_name", word.start, word.end, REJECT)
    return examined.reason("unsupported", word.start, word.end, REVIEW)


def _is_supported(examined: Examined, word: Word) -> bool:
    ground = examined.ground
    if ground.is_warned and examined.lexicon.wording.is_audience(word.text) and not word.is_negated:
        return examined.is_quoted(word.start, word.end)
    if word.is_negated:
        return word.key in ground.denied_keys or examined.is_quoted(word.start, word.end)
    if word.key in ground.keys or examined.is_quoted(word.start, word.end):
        return True
    plain = folded(word.text.casefold())
    if word.key in ground.denied_keys:
        return False
    return plain in ground.words or _in_compounds(examined, plain, word.key)


def _in_compounds(examined: Examined, plain: str, key: str) -> bool:
    """Whether a compound's parts are supported, or a fact's compound has the word as its last part."""
    if examined.lexicon.language != "de":
        return False
    words = examined.ground.words
    if any(
        len(stem) >= _SHORTEST_OF_COMPOUND and len(known) > len(stem) and known.endswith(stem)
        for stem in (plain, key)
        for known in words
    ):
        return True
    if any(len(key) >= _SHORTEST_OF_COMPOUND and known.startswith(key) for known in words):
        return True
    return any(
        _is_part(examined, plain[:cut]) and _is_part(examined, plain[cut:], is_last=True)
        for cut in range(_SHORTEST_PART, len(plain) - _SHORTEST_PART + 1)
    )


def _is_part(examined: Examined, part: str, *, is_last: bool = False) -> bool:
    """Whether a compound's part is the facts' own; its last one may also be a word of style."""
    wording, ground = examined.lexicon.wording, examined.ground
    if is_last:
        return wording.stem(part) in ground.head_keys or wording.is_neutral(part) or part in wording.usage
    stems = (part.removesuffix(link) for link in _LINKS if part.endswith(link))
    return any(len(stem) >= _SHORTEST_PART and wording.stem(stem) in ground.keys for stem in stems)


def _han(examined: Examined) -> tuple[list[Reason], int]:
    reasons, num_signs = [], 0
    numbers = [(quantity.start, quantity.end) for quantity in examined.quantities]
    for run in _HAN_RUN.finditer(examined.text):
        needs = _needs(examined, run[0], run.start(), numbers)
        num_signs += sum(need is not None for need in needs)
        reasons += list(_gaps(examined, needs, run.start()))
    return reasons, num_signs


def _needs(examined: Examined, run: str, offset: int, numbers: list[tuple[int, int]]) -> list[bool | None]:
    """For each character: whether support is missing; ``None`` where none is needed."""
    size = len(run)
    best: list[tuple[int, int, str]] = [(0, 0, "")] * (size + 1)
    for start in range(size - 1, -1, -1):
        missing, pieces, _ = best[start + 1]
        best[start] = (missing + 1, pieces + 1, "missing 1")
        if covered(numbers, offset + start, offset + start + 1):
            best[start] = (missing, pieces, "empty 1")
            continue
        for end in range(start + 1, min(size, start + _LONGEST_HAN) + 1):
            kind = _kind(examined, run[start:end], offset + start)
            if kind:
                missing, pieces, _ = best[end]
                best[start] = min(best[start], (missing, pieces + 1, f"{kind} {end - start}"))
    needs: list[bool | None] = []
    while len(needs) < size:
        kind, length = best[len(needs)][2].split()
        needs += [{"missing": True, "fact": False, "empty": None}[kind]] * int(length)
    return needs


def _kind(examined: Examined, piece: str, start: int) -> str:
    ground, wording = examined.ground, examined.lexicon.wording
    if examined.is_quoted(start, start + len(piece)) or _holds(examined, piece):
        return "fact"
    if any(piece[0] in sign for sign in wording.negations) and any(
        piece in denied for denied in ground.han_denied
    ):
        return "fact"
    if piece in wording.audience and _is_for_whom_han(examined, start):
        return ""
    return "empty" if piece in wording.neutral or piece in wording.stop_keys else ""


def _is_for_whom_han(examined: Examined, start: int) -> bool:
    before = examined.text[max(0, start - _HAN_CUE_REACH) : start]
    cues = examined.lexicon.wording.audience_cues
    return examined.ground.is_warned or any(cue in before for cue in cues)


def _holds(examined: Examined, piece: str) -> bool:
    if len(piece) > 1:
        return piece in examined.ground.han
    return f" {piece}" in f" {examined.ground.han}"


def _gaps(examined: Examined, needs: list[bool | None], offset: int) -> Iterator[Reason]:
    start = None
    for place, need in enumerate([*needs, None]):
        if need and start is None:
            start = place
        if not need and start is not None:
            yield examined.reason("unsupported", offset + start, offset + place, REVIEW)
            start = None
