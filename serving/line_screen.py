"""Keeps back lines of an item's own words that may be out of date or do harm, whoever wrote them.

It is quick, since it runs while somebody waits for a list: the whole gate decides on what is published, and
this only on what is shown for want of it.
"""

import re
from typing import Final

from recsys.blurbs.facts import Facts

_MONEY: Final = r"[$€£¥₹₩₽]|\b(?:usd|eur|gbp|jpy|cny|rmb|chf|euros?|dollars?|cents?)\b|元|円"
_OFFERS: Final = (
    r"%|\b(?:prices?|preis\w*|discount\w*|rabatt\w*|sale|cheap\w*|deal|offer|free|gratis|coupon\w*|"
    r"stock|lieferbar|shipping|delivery|versand\w*|lieferung|rat(?:ed|ing|ings)|reviews?|bewertung\w*|"
    r"stars?|sterne|best[- ]?sell\w*)\b|折|优惠|特价|包邮|库存|评分|好评"
)
_ADDRESSES: Final = r"https?:|www\.|@|\b\d[\d ()/-]{7,}\d\b"
_KEPT_BACK: Final = re.compile(f"{_MONEY}|{_OFFERS}|{_ADDRESSES}", re.IGNORECASE)


def may_be_shown(_facts: Facts, line: str, _language: str) -> bool:
    """Whether a line says nothing of prices, offers, stock, delivery, ratings or where else to go."""
    return _KEPT_BACK.search(line) is None
