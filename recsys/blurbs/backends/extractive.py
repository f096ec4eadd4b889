"""The shop's own words: the lead sentence of the description, or a line made of attributes. No model."""

import re
from typing import Final

from recsys.blurbs.backends.answer import facts_in
from recsys.blurbs.backends.backend import Draft
from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HiddenAttributes
from recsys.blurbs.prompt import Task
from recsys.blurbs.row import LENGTHS, Source

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_]|\d)|(?<=[。！？])\s*")
_MIN_CHARS: Final = 20
_MIN_CHARS_UNSPACED: Final = 6
_MOST_ATTRIBUTES: Final = 3
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_COLON: Final = {"zh": "：", "ja": "：", "fr": "\u00a0: "}  # fmt: skip
_SEPARATOR: Final = {"zh": "；", "ja": "、", "fr": "\u00a0; "}  # fmt: skip
_HIDDEN: Final = HiddenAttributes.of()


class ExtractiveBackend:
    """Cuts a blurb out of an item's fields; the same one every time."""

    model = "extractive"
    decoding = "1"
    source = Source.EXTRACTIVE
    as_json = False
    num_attempts = 1
    canary = ""

    async def write(self, task: Task) -> Draft:
        """A text of the item's own words; ``""`` where there are none, or none in the language asked for."""
        if task.facts.language and primary(task.facts.language) != primary(task.language):
            return Draft("")
        most_chars, hidden = LENGTHS[task.length], task.hidden
        text = extract(task.facts, task.language, most_chars, hidden, description=task.use_description)
        return Draft(text, facts_in(text, task) if text else ())

    async def close(self) -> None:
        """Nothing is held."""


def extract(
    facts: Facts,
    language: str,
    most_chars: int,
    hidden: HiddenAttributes = _HIDDEN,
    *,
    description: bool = True,
) -> str:
    """The lead sentence of the description, or the first attributes; ``""`` where there is neither.

    Args:
        facts: The item.
        language: BCP 47; it decides the punctuation between attributes. Nothing is translated.
        most_chars: Most characters of the text.
        hidden: Attributes that are shown to nobody.
        description: Whether the description may be cut.
    """
    lead = lead_sentence(facts.description, most_chars) if description else ""
    return lead or attribute_line(facts, language, most_chars, hidden)


def lead_sentence(description: str, most_chars: int) -> str:
    """The first sentence that is long enough, cut after a word where it is too long."""
    for sentence in _SENTENCE_END.split(description):
        text = sentence.strip(" -–—•*|")
        is_unspaced = bool(_UNSPACED.search(text))
        if len(text) >= (_MIN_CHARS_UNSPACED if is_unspaced else _MIN_CHARS):
            return text if len(text) <= most_chars else _cut_at_word(text, most_chars, is_unspaced)
    return ""


def attribute_line(facts: Facts, language: str, most_chars: int, hidden: HiddenAttributes = _HIDDEN) -> str:
    """``material: beech; length: 30 cm``: as many of the first attributes as fit."""
    colon, separator = _COLON.get(primary(language), ": "), _SEPARATOR.get(primary(language), "; ")
    line = ""
    shown = [fact for fact in facts.attributes if not hidden.hide(fact.attribute)]
    for fact in shown[:_MOST_ATTRIBUTES]:
        longer = f"{line}{separator if line else ''}{fact.attribute.replace('_', ' ')}{colon}{fact.value}"
        if len(longer) <= most_chars:
            line = longer
    return line


def primary(language: str) -> str:
    """The first part of a BCP 47 tag, ``de`` of ``de-AT``."""
    return language.replace("_", "-").partition("-")[0].lower()


def _cut_at_word(text: str, most_chars: int, is_unspaced: bool) -> str:
    head = text[: most_chars - 1]
    if not is_unspaced:
        head = head.rsplit(maxsplit=1)[0] if " " in head else ""
    return head.rstrip(" ,;:-–—(，、；：") + "…" if head else ""
