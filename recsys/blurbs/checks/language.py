"""Whether a text is in the language that was asked for: by script, function words, and a trained model."""

from collections.abc import Iterator
from functools import cache
from typing import Final, Protocol, runtime_checkable

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.verdict import Reason
from recsys.blurbs.wording import folded

CODE: Final = "wrong_language"
_HAN_LETTER: Final = regex.compile(r"\p{Han}")
_KANA_OR_HANGUL: Final = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Hangul}]")
_LATIN_LETTER: Final = regex.compile(r"\p{Latin}")
_OTHER_LETTER: Final = regex.compile(r"[^\P{L}\p{Latin}\p{Common}\p{Inherited}]")
_WORD: Final = regex.compile(r"[\p{L}'\u2019]+")
_FEWEST_WORDS: Final = 4
_CERTAIN: Final = 0.9
_MANY_MORE: Final = 2
_MOST_FOREIGN: Final = 0.1


@runtime_checkable
class _Identifier(Protocol):
    def classify(self, instance: str, /) -> tuple[str, float]: ...


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``wrong_language``, judging what is not a quotation of the item's title or brand."""
    own = _own_words(examined)
    if examined.lexicon.script == "han":
        yield from _han(examined, own)
        return
    foreign = _OTHER_LETTER.findall(own)
    if len(foreign) > _MOST_FOREIGN * max(len(_LATIN_LETTER.findall(own)), 1):
        yield Reason(CODE, f"letters of another script: {''.join(foreign)[:20]}")
        return
    yield from _latin(examined, own)
    yield from _facts_words(examined, own)


def _facts_words(examined: Examined, own: str) -> Iterator[Reason]:
    """Words of facts in another language, as in a text of nothing but attributes."""
    ground, wording = examined.ground, examined.lexicon.wording
    if ground.language in {"", examined.lexicon.language}:
        return
    words = [word for word in wording.words(own) if word.text.isalpha()]
    is_own = [
        wording.is_function_word(word.text)
        or wording.is_neutral(word.text)
        or wording.is_listed_use(word.text)
        or word.key in ground.implied_keys
        for word in words
    ]
    num_foreign = sum(
        not known and word.text.islower() and folded(word.text) in ground.words
        for word, known in zip(words, is_own, strict=True)
    )
    if num_foreign > sum(is_own):
        yield Reason(CODE, f"words of facts in {ground.language}, expected {examined.lexicon.language}")


def _own_words(examined: Examined) -> str:
    text = examined.text
    for start, end in sorted(examined.quoted, reverse=True):
        text = text[:start] + " " + text[end:]
    return text


def _han(examined: Examined, own: str) -> Iterator[Reason]:
    kana = _KANA_OR_HANGUL.findall(own)
    if kana:
        yield Reason(CODE, f"letters of another script: {''.join(kana)[:20]}")
    elif not _HAN_LETTER.search(own) and (own.strip() or not _HAN_LETTER.search(examined.text)):
        yield Reason(CODE, "no Chinese characters")
    elif len(_LATIN_LETTER.findall(own)) > 3 * len(_HAN_LETTER.findall(own)):
        yield Reason(CODE, "mostly Latin letters")


def _latin(examined: Examined, own: str) -> Iterator[Reason]:
    words = _WORD.findall(own)
    num_own = sum(examined.lexicon.wording.is_function_word(word) for word in words)
    for other in examined.other_lexicons:
        num_others = sum(_is_of(other, word, examined.lexicon) for word in words)
        if num_others > _MANY_MORE * num_own:
            yield Reason(CODE, f"looks like {other.language}, expected {examined.lexicon.language}")
            return
    unknown = [word for word in words if folded(word.casefold()) not in examined.ground.words]
    if len(unknown) >= _FEWEST_WORDS and num_own * 3 < len(words):
        yield from _by_model(" ".join(unknown).lower(), examined.lexicon.language)


def _is_of(other: Lexicon, word: str, lexicon: Lexicon) -> bool:
    return other.wording.is_function_word(word) and not lexicon.wording.is_function_word(word)


def _by_model(text: str, language: str) -> Iterator[Reason]:
    detected, probability = _identifier().classify(text)
    if detected != language and probability >= _CERTAIN:
        yield Reason(CODE, f"looks like {detected}, expected {language}")


@cache
def _identifier() -> _Identifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier: _Identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier
