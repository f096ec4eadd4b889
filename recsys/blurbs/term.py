"""A withdrawn term, and which texts have it: neither case nor how a letter is encoded makes a difference."""

import unicodedata
from collections.abc import Iterable


def folded(text: str) -> str:
    """A text as terms and names are compared: Unicode NFKC, without case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def terms_in(text: str, terms: Iterable[str]) -> list[str]:
    """The terms that stand in a text, be it within a word."""
    sought = folded(text)
    return [term for term in terms if folded(term) in sought]
