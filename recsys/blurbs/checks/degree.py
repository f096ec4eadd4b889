"""Whether a text says that an item has the most of something, by the form of a word: *lightest*."""

from collections.abc import Iterator
from typing import Final

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import REJECT, REVIEW, Reason
from recsys.blurbs.wording import folded

_CODE: Final = "claim_superlative"
_SHORTEST: Final = 3


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``claim_superlative``; one that the facts have too goes to a person."""
    for word in examined.words:
        form = folded(word.text.casefold())
        if _is_superlative(examined, form) and not examined.is_quoted(word.start, word.end):
            is_known = form in examined.ground.words
            yield examined.reason(_CODE, word.start, word.end, REVIEW if is_known else REJECT)


def _is_superlative(examined: Examined, form: str) -> bool:
    wording, ground = examined.lexicon.wording, examined.ground
    for ending in wording.superlatives:
        base = form.removesuffix(ending)
        if base == form or len(base) < _SHORTEST or form in wording.neutral:
            continue
        for one in (base, base + "e", base.removesuffix("i") + "y", base[:-1]):
            is_doubled = one == base[:-1] and base[-1:] != base[-2:-1]
            if len(one) < _SHORTEST or is_doubled or one in wording.stop_keys:
                continue
            if one in wording.neutral or one in ground.words or one in wording.checkable:
                return True
    return False
