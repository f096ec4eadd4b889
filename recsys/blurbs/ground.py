"""What an item's facts support, prepared once for all texts about it in one language."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Final, NamedTuple

import regex

from recsys.blurbs.counting import SENTENCE_END, Counted, counted, is_denial
from recsys.blurbs.facts import Fact, Facts
from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.quantities import BARE, Quantity
from recsys.blurbs.roles import Roles, is_named
from recsys.blurbs.wording import Word, folded

_YES: Final = frozenset({"yes", "true", "ja", "oui", "是", "有", "1"})
_NO: Final = frozenset({"no", "false", "nein", "none", "non", "否", "无", "没有", "0"})
_PUNCTUATION: Final = regex.compile(r"[^\p{Han}\p{L}\p{N}]+")
_NAME_BREAK: Final = regex.compile(r"[\W_]+")
_WORD: Final = regex.compile(r"\p{Han}|[^\P{L}\p{Han}]+")
_TITLE_PARTS: Final = regex.compile(r"[,;:/()\d]+")
_MANY_MORE: Final = 2
_CUE_REACH: Final = 3


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
        counted: All numbers with what stands around them.
        pairs: Keys of words that follow one another.
        head_keys: Keys of title, category and the attributes' names: what the item as a whole is.
        name_keys: Keys of what the item is called: categories, and the last word of each part of the title.
        han_head: Title and category.
        trait_keys: Keys of values that are about the item as a whole, such as its colour.
        denials: Words of absence, each with the key of a word of the same sentence.
        delicate: Keys of ingredients and allergens.
        han_delicate: Such words in Chinese.
        is_warned: Whether the facts say for whom the item is not.
        language: Language of the facts; ``""`` where that is unknown.
        implied_keys: Keys that follow from words of the facts.
        roles: What the facts say of what.
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
    counted: tuple[Counted, ...] = ()
    pairs: frozenset[tuple[str, str]] = frozenset()
    head_keys: frozenset[str] = frozenset()
    name_keys: frozenset[str] = frozenset()
    han_head: str = ""
    trait_keys: frozenset[str] = frozenset()
    denials: frozenset[tuple[str, str]] = frozenset()
    delicate: frozenset[str] = frozenset()
    han_delicate: tuple[str, ...] = ()
    is_warned: bool = False
    language: str = ""
    implied_keys: frozenset[str] = frozenset()
    roles: Roles = field(default_factory=Roles)

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
        all_lexicons = (lexicon, *others)
        traits = frozenset(name for one in all_lexicons for name in one.grammar.trait_names)
        delicate = _delicate(facts, held, lexicon, all_lexicons)
        keys = frozenset([*(word.key for word in held), *(key for keys in implied for key in keys)])
        return cls(
            keys=keys,
            denied_keys=frozenset(word.key for word, part in words if word.is_negated or part.is_denied),
            words=frozenset(folded(word.text.casefold()) for word, _ in words),
            names=_line(word for word, part in words if part.is_structured),
            description=_line(word for word, part in words if not part.is_structured),
            quantities=tuple(_quantities(facts, parts, lexicon, attribute_units)),
            claims=lexicon.closure(claim for one in all_lexicons for claim in _claims(parts, one)),
            han=" ".join([han, *(key for keys in implied for key in keys if _is_han(key))]),
            han_denied=han_denied,
            rivals=frozenset(key for group in lexicon.rivals if group & keys for key in group - keys),
            quotable=tuple(text for text in (facts.title, facts.brand) if text),
            counted=tuple(_counted(facts, lexicon, attribute_units)),
            pairs=frozenset(pair for part in parts for pair in _pairs(part.text, lexicon)),
            head_keys=_keys_of(_heads(facts), lexicon),
            name_keys=_keys_of([facts.category, *_last_words(facts.title)], lexicon),
            han_head=f"{facts.title} {facts.category}",
            trait_keys=_keys_of((fact.value for fact in facts.attributes if is_named(fact, traits)), lexicon),
            denials=frozenset(pair for part in parts for pair in _denials(part.text, lexicon)),
            delicate=frozenset(delicate),
            han_delicate=tuple(term for term in delicate if _is_han(term)),
            is_warned=any(_is_warning(part.text, one) for part in parts for one in all_lexicons),
            language=_language(facts, all_lexicons),
            implied_keys=frozenset(key for keys in implied for key in keys),
            roles=Roles.of(facts, lexicon, all_lexicons),
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


def _counted(facts: Facts, lexicon: Lexicon, attribute_units: Mapping[str, str]) -> Iterator[Counted]:
    for text in (facts.title, facts.brand, facts.category, facts.description):
        yield from counted(text, "", lexicon.units.find(text, either_way=True), lexicon)
    for fact in facts.attributes:
        name = _NAME_BREAK.sub(" ", fact.attribute)
        found = lexicon.units.find(fact.value, either_way=True)
        unit = _unit_of(fact.attribute, lexicon, attribute_units)
        if unit:
            found += [
                one._replace(
                    values=tuple(value * unit[1] for value in one.values), dimension=unit[0], factor=unit[1]
                )
                for one in found
                if one.dimension == BARE
            ]
        yield from counted(fact.value, name, found, lexicon)
        yield from counted(name, fact.value, lexicon.units.find(name, either_way=True), lexicon)


def _pairs(text: str, lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    keys = [word.key for word in lexicon.wording.words(text)]
    return pairwise(keys)


def _heads(facts: Facts) -> Iterator[str]:
    yield from (facts.title, facts.category)
    yield from (_NAME_BREAK.sub(" ", fact.attribute) for fact in facts.attributes)


def _last_words(title: str) -> Iterator[str]:
    for part in _TITLE_PARTS.split(title):
        words = [word for word in part.split() if word.isalpha()]
        yield from words[-1:]


def _keys_of(texts: Iterable[str], lexicon: Lexicon) -> frozenset[str]:
    words = [word for text in texts for word in lexicon.wording.words(text)]
    implied = _implied(words, " ".join(word.text for word in words), lexicon)
    return frozenset([*(word.key for word in words), *(key for keys in implied for key in keys)])


def _words_of(name: str) -> frozenset[str]:
    return frozenset(folded(word.casefold()) for word in _NAME_BREAK.split(name) if word)


def _denials(text: str, lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    wording = lexicon.wording
    for sentence in SENTENCE_END.split(text):
        words = wording.words(sentence)
        forms = (folded(word.text.casefold()) for word in words)
        cues = {form for form in forms if form in wording.absence or form in wording.diminishing}
        yield from ((cue, word.key) for cue in cues for word in words)


def _delicate(
    facts: Facts, held: list[Word], lexicon: Lexicon, lexicons: Iterable[Lexicon]
) -> frozenset[str]:
    """Keys of ingredients and allergens, and what these are called in the language of texts."""
    names = frozenset(name for one in lexicons for name in one.wording.ingredient_names)
    values = [
        fact.value
        for fact in facts.attributes
        if _words_of(fact.attribute) & names or any(name in fact.attribute for name in names if _is_han(name))
    ]
    wording = lexicon.wording
    words = [word for value in values for word in wording.words(value)]
    words += [word for word in held if wording.is_allergen(word.text)]
    words = [word for word in words if not wording.is_function_word(word.text)]
    han = [piece for value in values for piece in _PUNCTUATION.split(value) if _is_han(piece)]
    everything = " ".join([facts.title, facts.description, *(fact.value for fact in facts.attributes)])
    han += [term for term in wording.allergens if _is_han(term) and term in everything]
    implied = _implied(words, " ".join(han), lexicon)
    return frozenset([*(word.key for word in words), *han, *(key for keys in implied for key in keys)])


def _is_warning(text: str, lexicon: Lexicon) -> bool:
    """Whether a sentence of a fact says for whom something is not."""
    folded_text = folded(text.casefold())
    if not any(term in folded_text for term in lexicon.wording.audience):
        return False
    return any(_warns(sentence, lexicon) for sentence in SENTENCE_END.split(text))


def _warns(sentence: str, lexicon: Lexicon) -> bool:
    wording = lexicon.wording
    han = [term for term in wording.audience if _is_han(term) and term in sentence]
    words = wording.words(sentence)
    forms = [folded(word.text.casefold()) for word in words]
    warnings = (sign for sign in wording.warnings if sign in (sentence if _is_han(sign) else forms))
    if not is_denial(sentence, lexicon) and next(warnings, None) is None:
        return False
    cues = wording.audience_cues | wording.warnings
    return bool(han) or any(
        wording.is_audience(word.text) and not cues.isdisjoint(forms[max(0, place - _CUE_REACH) : place])
        for place, word in enumerate(words)
    )


def _language(facts: Facts, lexicons: Iterable[Lexicon]) -> str:
    """The language that the item has, or else the one that knows by far the most of its words."""
    if facts.language:
        return facts.language.replace("_", "-").partition("-")[0].lower()
    texts = " ".join([facts.title, facts.category, facts.description, *_attribute_texts(facts)])
    forms = [folded(word) for word in _WORD.findall(texts.casefold())]
    known = sorted((_num_known(forms, one), one.language) for one in lexicons)
    best, others = known[-1], [count for count, _ in known[:-1]]
    return best[1] if best[0] > _MANY_MORE * max(others, default=0) + 1 else ""


def _attribute_texts(facts: Facts) -> Iterator[str]:
    for fact in facts.attributes:
        yield f"{_NAME_BREAK.sub(' ', fact.attribute)} {fact.value}"


def _num_known(forms: Iterable[str], lexicon: Lexicon) -> int:
    if lexicon.script == "han":
        return sum(_is_han(form) for form in forms)
    wording = lexicon.wording
    known = (wording.stop_keys, wording.neutral, wording.usage)
    return sum(any(form in listed for listed in known) for form in forms)
