"""Makes a shop's own texts false, one way at a time, to see whether its gate notices."""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from recsys.blurbs.facts import Facts
from recsys.blurbs.lexicon import Lexicons

KINDS: Final = ("number", "unit", "brand", "attribute", "claim", "price", "language")
_DIGITS: Final = re.compile(r"\d+(?:[.,]\d+)?")
_SHORTEST_VALUE: Final = 3


@dataclass(frozen=True)
class Corruptor:
    """Knows what other items of the shop are like.

    Attributes:
        lexicons: The shop's; their units are swapped.
        brands: All brands.
        values: Values of all items by the attribute's name.
    """

    lexicons: Lexicons
    brands: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, shop: Iterable[Facts], lexicons: Lexicons) -> "Corruptor":
        """Learn the brands and values of a shop's items."""
        brands, values = set(), defaultdict(set)
        for facts in shop:
            brands |= {facts.brand} if facts.brand else set()
            for fact in facts.attributes:
                values[fact.attribute].add(fact.value)
        known = {name: tuple(sorted(found)) for name, found in values.items()}
        return cls(lexicons, tuple(sorted(brands)), known)

    def corrupt(self, text: str, facts: Facts, language: str, draw: random.Random) -> dict[str, str]:
        """False texts by kind; a kind is left out where nothing of the shop's can be swapped.

        A number, unit or attribute of the text is swapped where it has one, else one that no fact has is
        added; languages without phrases give nothing.

        Args:
            text: A true text.
            facts: Its item.
            language: BCP 47.
            draw: Decides among the ways.
        """
        primary = language.partition("-")[0].lower()
        said = _phrases().get(primary)
        if said is None:
            return {}
        found = {
            "number": _number(text, draw) or draw.choice(said["number"]).format(text),
            "unit": self._unit(text, primary, draw) or draw.choice(said["unit"]).format(text),
            "brand": self._brand(text, facts, said, draw),
            "attribute": self._attribute(text, facts, said, draw),
            "claim": draw.choice(said["claim"]).format(text),
            "price": draw.choice(said["price"]).format(text),
            "language": draw.choice(said["language"]).format(facts.title) if facts.title else None,
        }
        return {kind: false for kind, false in found.items() if false is not None and false != text}

    def _brand(self, text: str, facts: Facts, said: Mapping[str, Any], draw: random.Random) -> str | None:
        own = f"{facts.canonical} {text}".casefold()
        others = [brand for brand in self.brands if brand.casefold() not in own]
        return draw.choice(said["brand"]).format(draw.choice(others), text) if others else None

    def _unit(self, text: str, language: str, draw: random.Random) -> str | None:
        lexicon = self.lexicons.of(language)
        if lexicon is None:
            return None
        for quantity in lexicon.units.find(text):
            name = _DIGITS.sub("", text[quantity.start : quantity.end]).strip(" -")
            known = lexicon.units.by_name.get(name.lower())
            if known is None:
                continue
            rivals = [
                other
                for other, (dimension, factor) in lexicon.units.by_name.items()
                if (dimension, factor) != known
                and other.isascii() == name.isascii()
                and len(other) <= len(name)
            ]
            place = text.index(name, quantity.start)
            return text[:place] + draw.choice(rivals) + text[place + len(name) :] if rivals else None
        return None

    def _attribute(self, text: str, facts: Facts, said: Mapping[str, Any], draw: random.Random) -> str | None:
        own = facts.canonical.casefold()
        added = []
        for fact in facts.attributes:
            others = [value for value in self.values.get(fact.attribute, ()) if value.casefold() not in own]
            others = [value for value in others if not _DIGITS.search(value)]
            place = text.casefold().find(fact.value.casefold())
            if others and place >= 0 and len(fact.value) >= _SHORTEST_VALUE:
                return text[:place] + draw.choice(others) + text[place + len(fact.value) :]
            added += others
        return said["attribute"].format(draw.choice(added), text) if added else None


def _number(text: str, draw: random.Random) -> str | None:
    found = _DIGITS.search(text)
    if found is None:
        return None
    mark = "," if "," in found[0] else "."
    value = float(found[0].replace(",", "."))
    other = f"{draw.choice((value * 3, value + 1, value * 10, value + 7)):g}".replace(".", mark)
    return text[: found.start()] + other + text[found.end() :]


@cache
def _phrases() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Any] = yaml.safe_load(
        files("recsys.blurbs.quality").joinpath("phrases.yaml").read_text("utf-8")
    )
    return found
