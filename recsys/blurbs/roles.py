"""What the facts say of what: what an item is, what it is made of, and what belongs to one of its parts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import regex

from recsys.blurbs.facts import Fact, Facts
from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.stretches import stretches
from recsys.blurbs.substances import belongings, han_substances, substances
from recsys.blurbs.wording import Word, folded

_NAME_BREAK: Final = regex.compile(r"[\W_]+")
_HAN_BREAK: Final = regex.compile(r"[^\p{Han}]+")
_SENTENCE_END: Final = regex.compile(r"[.!?;。！？；]")
_OPENING_END: Final = regex.compile(r"[.,!?;。，！？；]")
_SHORTEST_OF_COMPOUND: Final = 4


@dataclass(frozen=True)
class Roles:
    """What an item's words are about.

    Attributes:
        kinds: Keys of what the item may be called: title, brand, category, attributes other than
            ingredients, and how the description begins.
        openings: Keys of words that the description's sentences open with, each with the word of grammar
            behind it, as in *packed in*.
        names: Keys of title and category.
        bound: Keys of two words of which the first is said of the second: *metal* of *ring*.
        parts: Keys of what the description says the item has.
        free: Keys of words of the description that stand alone, after *is* or after *for*, and so may be
            said of the item.
        stuff: Keys of what the item as a whole is made of, and of its colour.
        is_told: Whether texts tell what happens in the item, a film or book, and so may be about anybody.
        is_german: Whether words may be parts of one another.
        han: All Chinese text.
        han_kinds: Chinese text of the kinds.
        han_names: Title and category.
        han_stuff: Chinese words for what the item is made of, and of its colour.
    """

    kinds: frozenset[str] = frozenset()
    openings: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[str] = frozenset()
    bound: frozenset[tuple[str, str]] = frozenset()
    parts: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
    stuff: frozenset[str] = frozenset()
    is_told: bool = False
    is_german: bool = False
    han: str = ""
    han_kinds: str = ""
    han_names: str = ""
    han_stuff: frozenset[str] = frozenset()

    @classmethod
    def of(cls, facts: Facts, lexicon: Lexicon, lexicons: Iterable[Lexicon]) -> "Roles":
        """Read an item's facts.

        Args:
            facts: The item.
            lexicon: Of the language that texts are in.
            lexicons: All, as attributes may be named in any language.
        """
        lexicons = tuple(lexicons)
        named, traits, eaten = _attributes(facts, lexicons)
        opening = _OPENING_END.split(facts.description)[0]
        names = _Keys(lexicon).of([facts.title, facts.category])
        kinds = [facts.title, facts.category, facts.brand, *named, *traits]
        texts = [facts.title, facts.category, facts.description, *(fact.value for fact in facts.attributes)]
        first = next(stretches(opening, lexicon), None)
        bound = set(_bound(texts, lexicon))
        made = {one for one, owner in _made(facts.description, lexicon) if not owner or owner in names}
        made |= {one for one, owner in bound if owner in names}
        han_stuff = [*_HAN_BREAK.split(" ".join([*traits, *eaten]))]
        han_stuff += [piece for text in texts for _, piece in han_substances(text, lexicon)]
        return cls(
            kinds=_Keys(lexicon).of(kinds) | _Keys(lexicon).of_words(first.words if first else ()),
            openings=frozenset(_openings(facts.description, lexicon)),
            names=names,
            bound=frozenset(bound),
            parts=_Keys(lexicon).of_words(_parts(facts.description, names, lexicon)),
            free=_Keys(lexicon).of_words(_free(facts.description, lexicon)),
            stuff=names | _Keys(lexicon).of([*traits, *eaten]) | made,
            is_told=any(
                is_named(fact, one.grammar.work_names) for fact in facts.attributes for one in lexicons
            ),
            is_german=lexicon.language == "de",
            han=" ".join(texts),
            han_kinds=" ".join([*kinds, opening]),
            han_names=f"{facts.title} {facts.category}",
            han_stuff=frozenset(value for value in han_stuff if value),
        )

    def is_kind(self, word: Word) -> bool:
        """Whether the item may be called so."""
        return self._is_among(word, self.kinds)

    def is_name(self, word: Word) -> bool:
        """Whether title or category call it so."""
        return self._is_among(word, self.names)

    def _is_among(self, word: Word, keys: frozenset[str]) -> bool:
        if word.key in keys or not self.is_german or len(word.key) < _SHORTEST_OF_COMPOUND:
            return word.key in keys
        return any(
            one.endswith(word.key) or (len(one) >= _SHORTEST_OF_COMPOUND and word.key.endswith(one))
            for one in keys
        )


def _openings(text: str, lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    for sentence in _SENTENCE_END.split(text):
        first = next(stretches(sentence, lexicon), None)
        if first:
            yield first.words[-1].key, first.after


def _made(text: str, lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    """Keys of a substance and of what is made of it, ``""`` for the item."""
    keys = _Keys(lexicon)
    for found in substances(text, lexicon):
        owners = keys.of_words([found.owner]) if found.owner else [""]
        yield from ((one, owner) for one in keys.of_words(found.words) for owner in owners)


def _parts(text: str, names: frozenset[str], lexicon: Lexicon) -> Iterator[Word]:
    for sentence in _SENTENCE_END.split(text):
        for found in belongings(sentence, lexicon):
            if found.owner and found.owner.key in names:
                yield from found.words


def _free(text: str, lexicon: Lexicon) -> Iterator[Word]:
    grammar = lexicon.grammar
    for part in stretches(text, lexicon):
        before = [form for form in part.before if form not in grammar.determiners]
        if not before or before[-1] in grammar.purposes or not grammar.copulas.isdisjoint(before):
            yield from part.words


def _bound(texts: Iterable[str], lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    keys = _Keys(lexicon)
    for text in texts:
        before: tuple[Word, ...] = ()
        for part in stretches(text, lexicon):
            is_said = not lexicon.grammar.copulas.isdisjoint(part.before)  # as in "the shade is black"
            said = product(part.words, before[-1:]) if is_said else ()
            for one, other in (*combinations(part.words, 2), *said):
                yield from product(keys.of_words([one]), keys.of_words([other]))
            before = part.words
        yield from ((one, owner) for one, owner in _made(text, lexicon) if owner)


class _Keys:
    """Words as they are compared, with what follows from each."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def of(self, texts: Iterable[str]) -> frozenset[str]:
        return self.of_words(word for text in texts for word in self._lexicon.wording.words(text))

    def of_words(self, words: Iterable[Word]) -> frozenset[str]:
        known = [word.key for word in words]
        implied = (self._lexicon.implies.get((key,), ()) for key in known)
        return frozenset([*known, *(key for more in implied for keys in more for key in keys)])


def _attributes(facts: Facts, lexicons: tuple[Lexicon, ...]) -> tuple[list[str], list[str], list[str]]:
    """Texts of attributes: those that say what the item is; its material and colour; its ingredients."""
    named, traits, eaten = list[str](), list[str](), list[str]()
    for fact in facts.attributes:
        if any(is_named(fact, one.wording.ingredient_names) for one in lexicons):
            eaten.append(fact.value)
        elif any(is_named(fact, one.grammar.trait_names) for one in lexicons):
            traits.append(fact.value)
        else:
            named.append(fact.value)
        named.append(_NAME_BREAK.sub(" ", fact.attribute))
    return named, traits, eaten


def is_named(fact: Fact, names: frozenset[str]) -> bool:
    """Whether an attribute's name has one of the words, or of the Chinese names as a part."""
    words = {folded(word.casefold()) for word in _NAME_BREAK.split(fact.attribute)}
    return not words.isdisjoint(names) or any(name in fact.attribute for name in names if not name.isascii())
