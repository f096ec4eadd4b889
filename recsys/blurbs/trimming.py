"""Cuts a text to what a reader would count as so many characters: after a sentence, else after a word."""

import re
from typing import Final

import regex

_CLUSTER: Final = regex.compile(r"\X")
_SENTENCES: Final = re.compile(r".*(?:[.!?](?=\s)|[。！？])", re.DOTALL)
_LOOSE: Final = " ,;:-–—(，、；："
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")
_LEAST_SHARE: Final = 0.5
"""A sentence that ends before this share of the room is cut after a word further on instead."""


def trimmed(text: str, most_chars: int) -> str:
    """The text, or as much of its beginning as fits; ``""`` where not even a word does.

    Args:
        text: Plain text.
        most_chars: Most extended grapheme clusters: an emoji of several parts, or a letter with its marks,
            counts once.

    Source: Unicode Standard Annex 29, "Unicode Text Segmentation", section 3.

    >>> trimmed("Solid oak. Oiled by hand in Graz.", 16), trimmed("Solid oak, oiled by hand.", 12)
    ('Solid oak.', 'Solid oak…')
    """
    if len(text) <= most_chars:  # clusters are never more than code points
        return text
    clusters = _CLUSTER.findall(text)
    if len(clusters) <= most_chars:
        return text
    head = "".join(clusters[:most_chars])
    sentences = _SENTENCES.match(head + clusters[most_chars])
    if sentences and len(sentences[0]) >= _LEAST_SHARE * len(head):
        return sentences[0]
    head = "".join(clusters[: most_chars - 1])
    is_within_a_word = not (head[-1:].isspace() or clusters[most_chars - 1].isspace())
    if is_within_a_word and not _UNSPACED.search(head):
        head = head.rsplit(maxsplit=1)[0] if len(head.split()) > 1 else ""
    head = head.rstrip(_LOOSE)
    return f"{head}…" if head else ""
