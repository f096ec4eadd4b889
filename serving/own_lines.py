"""Cuts lines from an item's own fields, for where nothing was published."""

import hashlib
from collections.abc import Callable
from typing import Final

from recsys.blurbs.backends.extractive import attribute_line, lead_sentence
from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HiddenAttributes
from recsys.blurbs.row import LENGTHS
from recsys.blurbs.withdrawn import text_head
from serving.item_words import ItemWords, Row

_MODEL: Final = "extractive"

Screen = Callable[[Facts, str, str], bool]
"""Whether a line of an item, in a language, may be shown: nobody has approved it."""


def with_own_lines(row: Row, screen: Screen, hidden: HiddenAttributes) -> ItemWords:
    """The words of an item, with a line for each length class where it has one that may be shown.

    Args:
        row: The item.
        screen: Decides on lines.
        hidden: Attributes that are shown to nobody.
    """
    facts = Facts.of(row)
    bare = ItemWords.without_lines(facts, row)
    lines = {
        name: _line(facts, bare.language, most_chars, screen, hidden) for name, most_chars in LENGTHS.items()
    }
    heads = {name: text_head(facts.item_id, line) for name, line in lines.items()}
    names = {name: _line_id(heads[name]) if line else "" for name, line in lines.items()}
    return ItemWords(bare.facts_hash, bare.category, bare.seller, bare.language, lines, names, heads)


def _line(facts: Facts, language: str, most_chars: int, screen: Screen, hidden: HiddenAttributes) -> str:
    for line in (
        lead_sentence(facts.description, most_chars),
        attribute_line(facts, language, most_chars, hidden),
    ):
        if line and screen(facts, line, language):
            return line
    return ""


def _line_id(head: str) -> str:
    """The name of a line that was cut on the spot, in the form of those of texts of the book."""
    return hashlib.sha256(f"{_MODEL}\n{head}".encode()).hexdigest()[:32]
