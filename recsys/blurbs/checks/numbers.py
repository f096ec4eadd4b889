"""Whether every number of a text, with its unit, is one of the facts'."""

from collections.abc import Iterator
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined, covered
from recsys.blurbs.verdict import Reason
from recsys.blurbs.wording import folded

_CODE: Final = regex.compile(
    r"(?<![\p{Latin}\p{N}])(?=[\p{Latin}\p{Nd}]*\p{Nd})(?=[\p{Latin}\p{Nd}]*\p{Latin})[\p{Latin}\p{Nd}]+"
)
_FIGURE: Final = regex.compile(r"[\p{Nd}\p{No}\p{Nl}]+")


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``unsupported_number``: a number, unit or code such as ``IP67`` that the facts do not have."""
    spans = []
    for quantity in examined.quantities:
        spans.append((quantity.start, quantity.end))
        if not quantity.is_supported(examined.ground.quantities):
            yield examined.reason("unsupported_number", quantity.start, quantity.end)
    for code in (code for code in _CODE.finditer(examined.text) if not covered(spans, *code.span())):
        spans.append(code.span())
        if folded(code[0].casefold()) not in examined.ground.words:
            yield examined.reason("unsupported_number", *code.span())
    for figure in _FIGURE.finditer(examined.text):
        if not covered(spans, *figure.span()) and not examined.is_quoted(*figure.span()):
            yield examined.reason("unsupported_number", *figure.span())
