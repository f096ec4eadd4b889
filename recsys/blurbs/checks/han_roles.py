"""What ``roles`` checks, for texts without spaces between words."""

from collections.abc import Iterator
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.substances import han_substances
from recsys.blurbs.verdict import REVIEW, Reason

_CODE: Final = "misplaced_fact"
_HAN: Final = regex.compile(r"\p{Han}+")
_SIGN: Final = regex.compile(r"[，。：；、！？,.:;!?]")
_REACH: Final = 4
_NAME: Final = 2


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``misplaced_fact``, about the word that belongs to something else."""
    yield from _head(examined)
    yield from _made_of(examined)
    yield from _traits(examined)


def _head(examined: Examined) -> Iterator[Reason]:
    """What a text calls the item: the end of what stands before its first verb or sign."""
    roles, grammar = examined.ground.roles, examined.lexicon.grammar
    ends = [found.start() for found in _SIGN.finditer(examined.text)]
    ends += [place for place in map(examined.text.find, grammar.closers) if place > 0]
    end = min(ends, default=len(examined.text))
    opening = examined.text[:end]
    if opening.startswith(tuple(grammar.closers)) or _is_style(examined, opening[-_NAME:]):
        return
    for size in range(min(_REACH, end), 0, -1):
        piece = opening[-size:]
        if _HAN.fullmatch(piece) and piece in roles.han and not _is_style(examined, piece):
            before = examined.text[max(0, end - size - _NAME) : end - size]
            is_other = _is_other(examined, before) and before + piece[0] not in roles.han
            is_misnamed = piece[-_NAME:] not in roles.han_kinds
            if (is_misnamed or is_other) and not examined.is_quoted(end - size, end):
                yield examined.reason(_CODE, end - size, end, REVIEW)
            return


def _is_other(examined: Examined, piece: str) -> bool:
    """Whether the facts have a word, but only of something beside the item."""
    roles = examined.ground.roles
    is_known = bool(_HAN.fullmatch(piece)) and piece in roles.han and not _is_style(examined, piece)
    is_use = any(f"{purpose}{piece}" in roles.han for purpose in examined.lexicon.grammar.purposes)
    is_of_item = piece in roles.han_kinds or any(one in piece for one in roles.han_stuff)
    return is_known and not (is_use or is_of_item)


def _made_of(examined: Examined) -> Iterator[Reason]:
    roles = examined.ground.roles
    for place, piece in han_substances(examined.text, examined.lexicon):
        if piece not in roles.han_names and not any(piece.endswith(one) for one in roles.han_stuff):
            yield examined.reason(_CODE, place, place + len(piece), REVIEW)


def _traits(examined: Examined) -> Iterator[Reason]:
    """Materials and colours that stand before what they are not said of."""
    roles, text = examined.ground.roles, examined.text
    traits = examined.lexicon.grammar.traits | {one for one in roles.han_stuff if len(one) > 1}
    longest = regex.compile("|".join(sorted(map(regex.escape, traits), key=len, reverse=True)) or "(?!)")
    for found in (one for one in longest.finditer(text) if one[0] in roles.han):
        after = _HAN.match(text, found.end())
        noun = after[0].removeprefix("的") if after else ""
        is_fact = noun[:_NAME] in roles.han
        is_noun = noun and (is_fact or not any(_is_style(examined, noun[:size]) for size in (1, _NAME)))
        if not is_noun or longest.match(noun) or examined.is_quoted(found.start(), found.end()):
            continue
        is_bound = found[0] + noun[0] in roles.han or f"{found[0]}的{noun[0]}" in roles.han
        is_of_item = found[0] in roles.han_stuff or found[0] in roles.han_names
        if not is_bound and not (is_of_item and noun[:_NAME] in roles.han_kinds):
            yield examined.reason(_CODE, found.start(), found.end() + len(noun[:_NAME]), REVIEW)


def _is_style(examined: Examined, piece: str) -> bool:
    wording, grammar = examined.lexicon.wording, examined.lexicon.grammar
    return piece in wording.neutral or piece in wording.stop_keys or piece in grammar.closers | grammar.making
