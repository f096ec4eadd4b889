"""What no text may say, even when true: what changes, guesses about the reader, a model's own talk.

Prices, discounts, stock, delivery and ratings change. Frontends show them from live data.
"""

from collections.abc import Iterator
from typing import Final

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.lexicon import BANNED_EXCEPT_IN_TITLES
from recsys.blurbs.verdict import REJECT, REVIEW, Reason

_QUOTABLE: Final = frozenset(BANNED_EXCEPT_IN_TITLES.values())


def check(examined: Examined) -> Iterator[Reason]:
    """Yield the lexicon's own codes: ``price``, ``discount``, …, ``refusal``, ``history``, ``sensitive``.

    Within the item's own title a word such as *price* goes to a person: it may be the name of a book.
    """
    for match in examined.lexicon.banned.find(examined.text):
        is_title = examined.is_quoted(match.start, match.end)
        if not (is_title and match.topic in _QUOTABLE):
            yield examined.reason(match.topic, match.start, match.end, REVIEW if is_title else REJECT)
