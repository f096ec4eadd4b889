"""Prices, discounts, stock, delivery and ratings: never in a text, even when true, because they change."""

from collections.abc import Iterator

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import REJECT, REVIEW, Reason


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``price``, ``discount``, ``stock``, ``delivery``, ``rating``.

    Within the item's own title a word such as *price* goes to a person: it may be the name of a book.
    """
    for match in examined.lexicon.forbidden.find(examined.text):
        is_title = examined.is_quoted(match.start, match.end)
        yield examined.reason(match.topic, match.start, match.end, REVIEW if is_title else REJECT)
