"""Item texts without the tricks that make a text encoder see what a shopper does not.

Ordinary text comes through byte for byte. What changes is: letters that only look like others, in a word
that mixes scripts or is written in styled letters; characters that are not seen; and words that are repeated
until they drown the rest. Texts are in lower case.

Source: Unicode Technical Standard 39, "Unicode Security Mechanisms", section 5.1, mixed scripts.
    Deviation: Latin, Greek and Cyrillic only, and a mixed word is rewritten in one script instead of being
    refused: in Latin where all its letters have a Latin look, else in the other.
"""

import re
import unicodedata
from collections import Counter
from typing import Final

import polars as pl

FIELD_CHARS: Final = {"title": 500, "brand": 200, "tags": 1_000, "description": 10_000}
"""Characters of each field that are read; no encoder reads as many."""
_FEWEST_WORDS: Final = 12
_FEWEST_AGAIN: Final = 2
_LEAST_VARIETY: Final = 0.4
"""Share of distinct words below which a text repeats itself without measure; what people write has more."""

_WORD = re.compile(r"[^\W_]+")
_FOREIGN = re.compile(r"[^\W_]*[^\x00-\u024f\W][^\W_]*")
_UNSEEN = dict.fromkeys(
    [0xAD, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
_JOINER_BY_LATIN = re.compile(r"(?<=[a-z0-9])[\u200c\u200d]+|[\u200c\u200d]+(?=[a-z0-9])")
_STYLED = ("<font>", "<wide>", "<narrow>", "<circle>", "<square>")
_CYRILLIC = dict(zip("авеѕіјкмнорстухԁһԛԝ", "abesijkmhopctyxdhqw", strict=True))
_GREEK = dict(zip("αβεικνορτυχω", "abeikvoptuxw", strict=True))
_TO_LATIN = str.maketrans(_CYRILLIC | _GREEK)
_TO_CYRILLIC = str.maketrans({latin: own for own, latin in reversed(list(_CYRILLIC.items()))})
_TO_GREEK = str.maketrans({latin: own for own, latin in _GREEK.items()})


def honest_texts(texts: pl.Series) -> pl.Series:
    """The texts without tricks; those of ordinary texts are the same.

    Args:
        texts: In lower case, white space collapsed.
    """
    is_foreign = texts.str.contains(r"[^\x00-\x{AC}\x{AE}-\x{24F}]")
    chosen = (is_foreign | _may_repeat(texts)).arg_true()
    if chosen.is_empty():
        return texts
    return texts.scatter(chosen, [honest(text) for text in texts.gather(chosen)])


def honest(text: str) -> str:
    r"""One text without tricks.

    >>> honest("iph\u043ene c\u0430se"), honest("bread bread bread bread")
    ('iphone case', 'bread')
    """
    if not text.isascii():
        text = _JOINER_BY_LATIN.sub("", text.translate(_UNSEEN))
        text = _FOREIGN.sub(lambda found: _in_one_script(found.group()), text)
    return _measured(text) if _repeats(text) else text


def _may_repeat(texts: pl.Series) -> pl.Series:
    """Texts of which some words come again and again; said quickly of many."""
    words = texts.str.split(" ")
    return words.list.len().cast(pl.Int64) - words.list.n_unique().cast(pl.Int64) >= _FEWEST_AGAIN


def _in_one_script(word: str) -> str:
    word = "".join(_plain(letter) for letter in word)
    scripts = Counter(_script(letter) for letter in word)
    latin, cyrillic, greek = (scripts[name] for name in ("LATIN", "CYRILLIC", "GREEK"))
    if (latin > 0) + (cyrillic > 0) + (greek > 0) < 2:
        return word
    as_latin = word.translate(_TO_LATIN)
    if all(_script(letter) not in {"CYRILLIC", "GREEK"} for letter in as_latin):
        return as_latin
    return word.translate(_TO_CYRILLIC if cyrillic > greek else _TO_GREEK)


def _plain(letter: str) -> str:
    """A letter without style: full width, mathematical, circled."""
    is_styled = unicodedata.decomposition(letter).startswith(_STYLED)
    return unicodedata.normalize("NFKC", letter).lower() if is_styled else letter


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _repeats(text: str) -> bool:
    words = _WORD.findall(text)
    if len(words) >= _FEWEST_WORDS and len(set(words)) < _LEAST_VARIETY * len(words):
        return True
    runs = zip(words, words[1:], words[2:], words[3:], strict=False)
    return any(a == b == c == d and len(a) > 2 and a.isalpha() for a, b, c, d in runs)


def _measured(text: str) -> str:
    """The text with every word once, and no gaps where others stood."""
    seen: set[str] = set()

    def keep(found: re.Match[str]) -> str:
        word = found.group()
        is_new = word not in seen
        seen.add(word)
        return word if is_new else ""

    kept = _WORD.sub(keep, text)
    return re.sub(r"(?:[^\w]*\s[^\w]*)+", _one_gap, kept).strip(" ,.;:-")


def _one_gap(found: re.Match[str]) -> str:
    """What stood before the first gap of several, such as the full stop between two fields."""
    return re.split(r"(?<=\s)", found.group(), maxsplit=1)[0]
