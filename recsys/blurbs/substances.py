"""What a text says that something is made of, or has."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import regex

from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.stretches import Stretch, plain, stretches
from recsys.blurbs.wording import Word

_HAN_PART: Final = regex.compile(r"[\p{Han}、]+")
_HAN_BETWEEN: Final = regex.compile(r"[和与及、]")


class Substance(NamedTuple):
    """A stretch that names what something is made of.

    Attributes:
        words: Its words.
        owner: What is made of it; ``None`` where the text names nothing, which means the item.
        is_said: Whether *made* or the like says so, as in *made of beech*; *of beech* alone may mean much.
        link: The word that leads to it, such as *of*; ``""`` after *and*.
    """

    words: tuple[Word, ...]
    owner: Word | None
    is_said: bool
    link: str = ""


def substances(text: str, lexicon: Lexicon) -> Iterator[Substance]:
    """Yield what the text names after *made of*, *of* and the like, with what is said to be made of it."""
    owner: Word | None = None
    is_making = is_list = False
    ends = link = ""
    for part in stretches(text, lexicon):
        is_said = _is_after(part, lexicon, is_making=is_making) or (is_list and _goes_on(part, lexicon))
        if is_said or (part.before and part.before[-1] in lexicon.grammar.links):
            link = _link(part, lexicon) if not is_list else link
            yield Substance(part.words, owner, is_said, link)
            is_list = is_said
        else:
            is_apart = ends in {",", ":"} and plain(part.words[0]) in lexicon.grammar.making
            owner, is_list = None if is_apart else _owner(part, lexicon) or owner, False
        is_making = plain(part.words[-1]) in lexicon.grammar.making
        ends = part.after
        if ends in {".", "!", "?", ";"}:
            owner = None


def _is_after(part: Stretch, lexicon: Lexicon, *, is_making: bool) -> bool:
    """Whether a stretch follows on *made* and a preposition."""
    return is_making and _link(part, lexicon) in lexicon.grammar.made_with


def _link(part: Stretch, lexicon: Lexicon) -> str:
    links = [form for form in part.before if form not in lexicon.grammar.determiners]
    return links[-1] if links else ""


def _goes_on(part: Stretch, lexicon: Lexicon) -> bool:
    passed = lexicon.grammar.conjunctions | lexicon.grammar.determiners
    return all(form in passed for form in part.before) and all(word.text.isalpha() for word in part.words)


def _owner(part: Stretch, lexicon: Lexicon) -> Word | None:
    content = [
        word
        for word in part.words
        if word.text.isalpha()
        and plain(word) not in lexicon.grammar.making
        and not lexicon.wording.is_neutral(word.text)
    ]
    return content[-1] if content else None


def belongings(text: str, lexicon: Lexicon) -> Iterator[Substance]:
    """Yield what a sentence names after *with*, with what is said to have it."""
    owner: Word | None = None
    is_list = False
    for part in stretches(text, lexicon):
        link = _link(part, lexicon)
        is_list = link in lexicon.grammar.having or (is_list and _goes_on(part, lexicon))
        if is_list:
            yield Substance(part.words, owner, is_said=True)
        elif link not in lexicon.grammar.links:
            owner = _owner(part, lexicon) or owner


def han_substances(text: str, lexicon: Lexicon) -> Iterator[tuple[int, str]]:
    """Yield what stands before *made* in Chinese, each with its place: 竹 of 由竹制成."""
    for part in _HAN_PART.finditer(text):
        end = min((part[0].find(word) for word in lexicon.grammar.making if word in part[0]), default=-1)
        if end < 0:
            continue
        start = max(part[0].rfind(link, 0, end) + 1 for link in lexicon.grammar.made_with)
        for piece in _HAN_BETWEEN.split(part[0][start:end]):
            if piece:
                yield part.start() + part[0].find(piece, start), piece
