"""What an item's facts support, prepared once for all texts about it in one language."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

import regex

from recsys.blurbs.facts import Fact, Facts
from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.quantities import BARE, Quantity
from recsys.blurbs.wording import Word, folded

_YES: Final = frozenset({"yes", "true", "ja", "oui", "是", "有", "1"})
_NO: Final = frozenset({"no", "false", "nein", "none", "non", "否", "无", "没有", "0"})
_PUNCTUATION: Final = regex.compile(r"[^\p{Han}\p{L}\p{N}]+")
_NAME_BREAK: Final = regex.compile(r"[\W_]+")


class _Part(NamedTuple):
    """One field of an item: its text, whether it is structured, and whether it is denied."""

    text: str
    is_structured: bool = True
    is_denied: bool = False


@dataclass(frozen=True)
class Ground:
    """Everything a text may stand on.

    Attributes:
        keys: Keys of words that hold for the item.
        denied_keys: Keys of words that the facts deny, as in ``without hood``.
        words: All words, without case and accents, as written.
        names: Title, brand, category and attributes as one line of such words, to look names up in.
        description: The description as such a line.
        quantities: All numbers.
        claims: Claims that the structured facts make, with all that follows from them.
        han: Text without spaces that holds for the item.
        han_denied: Such text from a negation on.
        rivals: Keys of words that would contradict one of the facts', as *jar* does where they have *can*.
        quotable: Title and brand: what a text may quote as it is.
    """

    keys: frozenset[str]
    denied_keys: frozenset[str]
    words: frozenset[str]
    names: str
    description: str
    quantities: tuple[Quantity, ...]
    claims: frozenset[str]
    han: str
    han_denied: tuple[str, ...]
    rivals: frozenset[str]
    quotable: tuple[str, ...]

    @classmethod
    def of(
        cls,
        facts: Facts,
        lexicon: Lexicon,
        others: Iterable[Lexicon] = (),
        attribute_units: Mapping[str, str] = MappingProxyType({}),
    ) -> "Ground":
        """Prepare an item's facts.

        Args:
            facts: The item; its language may be any.
            lexicon: Of the language that texts are in.
            others: All other lexicons, because a claim may stand in the facts in another language.
            attribute_units: The unit of a bare number by the attribute's name.
        """
        parts = list(_parts(facts))
        words = [(word, part) for part in parts for word in lexicon.wording.words(part.text)]
        held = [word for word, part in words if not word.is_negated and not part.is_denied]
        han, han_denied = _han_texts(parts, lexicon)
        implied = list(_implied(held, han, lexicon))
        keys = frozenset([*(word.key for word in held), *(key for keys in implied for key in keys)])
        return cls(
            keys=keys,
            denied_keys=frozenset(word.key for word, part in words if word.is_negated or part.is_denied),
            words=frozenset(folded(word.text.casefold()) for word, _ in words),
            names=_line(word for word, part in words if part.is_structured),
            description=_line(word for word, part in words if not part.is_structured),
            quantities=tuple(_quantities(facts, parts, lexicon, attribute_units)),
            claims=lexicon.closure(claim for one in (lexicon, *others) for claim in _claims(parts, one)),
            han=" ".join([han, *(key for keys in implied for key in keys if _is_han(key))]),
            han_denied=han_denied,
            rivals=frozenset(key for group in lexicon.rivals if group & keys for key in group - keys),
            quotable=tuple(text for text in (facts.title, facts.brand) if text),
        )


def _parts(facts: Facts) -> Iterator[_Part]:
    for text in (facts.title, facts.brand, facts.category):
        if text:
            yield _Part(text)
    if facts.description:
        yield _Part(facts.description, is_structured=False)
    for fact in facts.attributes:
        yield from _attribute_parts(fact)


def _attribute_parts(fact: Fact) -> Iterator[_Part]:
    """A yes or no is about the attribute's name; any other value stands for itself."""
    name = _NAME_BREAK.sub(" ", fact.attribute)
    value = fact.value.strip().casefold()
    if value in _YES | _NO:
        yield _Part(name, is_denied=value in _NO)
    else:
        yield _Part(fact.value)
        yield _Part(name, is_structured=_is_measured(value))


def _is_measured(value: str) -> bool:
    """Whether a value measures what its attribute names, as in ``waterproof: IPX7``; a share does not."""
    return any(sign.isdigit() for sign in value) and "%" not in value


def _line(words: Iterable[Word]) -> str:
    return " ".join(["", *(folded(word.text.casefold()) for word in words), ""])


def _implied(held: list[Word], han: str, lexicon: Lexicon) -> Iterator[tuple[str, ...]]:
    line = " ".join(["", *(word.key for word in held), ""])
    for known, implied in lexicon.implies.items():
        if f" {' '.join(known)} " in line or (_is_han(known[0]) and known[0] in han):
            yield from implied


def _claims(parts: list[_Part], lexicon: Lexicon) -> Iterator[str]:
    for part in parts:
        if not part.is_structured or part.is_denied:
            continue
        negated = negated_places(part.text, lexicon)
        for match in lexicon.claim_phrases.find(part.text):
            if match.start not in negated:
                yield match.topic


def negated_places(text: str, lexicon: Lexicon) -> frozenset[int]:
    """Where the words begin that a negation turns round."""
    return frozenset(word.start for word in lexicon.wording.words(text) if word.is_negated)


def _quantities(
    facts: Facts, parts: list[_Part], lexicon: Lexicon, attribute_units: Mapping[str, str]
) -> Iterator[Quantity]:
    for part in parts:
        yield from lexicon.units.find(part.text, either_way=True)
    for fact in facts.attributes:
        unit = _unit_of(fact.attribute, lexicon, attribute_units)
        if unit:
            bare = [one for one in lexicon.units.find(fact.value, either_way=True) if one.dimension == BARE]
            yield from (
                one._replace(
                    values=tuple(value * unit[1] for value in one.values), dimension=unit[0], factor=unit[1]
                )
                for one in bare
            )


def _unit_of(
    attribute: str, lexicon: Lexicon, attribute_units: Mapping[str, str]
) -> tuple[str, float] | None:
    """The unit that an attribute's name gives to a bare number: ``runtime``, ``weight_g``, ``width (cm)``."""
    words = [word for word in _NAME_BREAK.split(attribute.lower()) if word]
    known = attribute_units.get(" ".join(words)) or (words[-1] if len(words) > 1 else "")
    return lexicon.units.by_name.get(known)


def _han_texts(parts: list[_Part], lexicon: Lexicon) -> tuple[str, tuple[str, ...]]:
    held, denied = [], []
    signs = [sign for sign in lexicon.wording.negations if _is_han(sign)]
    for piece in (piece for part in parts for piece in _PUNCTUATION.split(part.text) if _is_han(piece)):
        cut = min((piece.find(sign) for sign in signs if sign in piece), default=len(piece))
        held.append(piece[:cut])
        denied += [piece[cut:]] if cut < len(piece) else []
    return " ".join(held), tuple(denied)


def _is_han(text: str) -> bool:
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)
