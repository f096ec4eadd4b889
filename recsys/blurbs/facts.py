"""What is known of an item and may be said of it: the only ground that a blurb's text stands on."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from recsys.blurbs.sanitising import sanitised
from recsys.blurbs.steering import is_steering
from recsys.schema import LANGUAGE

SELLER: Final = "seller"
"""The attribute that names who sells an item."""
_CATEGORY_SEPARATOR: Final = " > "
_TEXTS: Final = ("item_id", "title", "brand", "category", "description")
_SHORT: Final = 100
_REMEMBERED: Final = 8192


@dataclass(frozen=True, slots=True)
class Fact:
    """One attribute with its value.

    Attributes:
        id: Unique within the item: ``f1``, ``f2``, … in the order of the attributes' names.
        attribute: The attribute's name, such as ``weight``.
        value: The value as text, such as ``640 g``; the parts of a list joined by ``, ``.
    """

    id: str
    attribute: str
    value: str


@dataclass(frozen=True)
class Facts:
    """An item as blurbs see it. Price and availability are never part of it: they change while texts stay.

    All texts are sanitised, see ``recsys.blurbs.sanitising``; a text that speaks to a model instead of to
    shoppers is left out, see ``recsys.blurbs.steering``.

    Attributes:
        item_id: The item.
        title: Its title; ``""`` when unknown, as for all texts here.
        brand: Its brand.
        category: Its categories, root first, joined by `` > ``.
        description: Free text, the least trusted part.
        attributes: All other facts, tags among them.
        language: BCP 47 tag of its texts, ``""`` where the catalogue does not tell.
    """

    item_id: str
    title: str
    brand: str
    category: str
    description: str
    attributes: tuple[Fact, ...]
    language: str = ""

    @classmethod
    def of(cls, item: Mapping[str, object]) -> "Facts":
        """Read an item of the data contract.

        Args:
            item: ``item_id``, ``title``, ``description``, ``brand``, ``category`` (text or list), ``tags``
                (list), ``language`` and ``attributes`` (map, or a list of ``{key, value}`` as catalogue
                tables have them); every key but ``item_id`` may be absent or ``None``.
        """
        named = _named(item.get("attributes"))
        named |= {"tags": item["tags"]} if item.get("tags") else {}
        values = sorted((str(name), _text(value)) for name, value in named.items())
        known = [(name, value) for name, value in values if value]
        return cls(
            item_id=str(item.get("item_id") or ""),
            title=_text(item.get("title")),
            brand=_text(item.get("brand")),
            category=_text(item.get("category"), _CATEGORY_SEPARATOR),
            description=_text(item.get("description")),
            attributes=tuple(
                Fact(f"f{number}", name, value) for number, (name, value) in enumerate(known, 1)
            ),
            language=_text(item.get(LANGUAGE)),
        )

    @cached_property
    def canonical(self) -> str:
        """The facts as JSON, the same for the same facts: what a blurb is made from."""
        attributes = [
            {"id": fact.id, "attribute": fact.attribute, "value": fact.value} for fact in self.attributes
        ]  # ``asdict`` takes several times as long
        given = {name: getattr(self, name) for name in _TEXTS} | {"attributes": attributes}
        given |= {LANGUAGE: self.language} if self.language else {}
        return json.dumps(given, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of ``canonical``, hexadecimal."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @classmethod
    def from_canonical(cls, text: str) -> "Facts":
        """The inverse of ``canonical``."""
        given = json.loads(text)
        return cls(**given | {"attributes": tuple(Fact(**fact) for fact in given["attributes"])})

    @property
    def category_path(self) -> tuple[str, ...]:
        """The categories, root first."""
        return tuple(filter(None, self.category.split(_CATEGORY_SEPARATOR)))

    @property
    def seller(self) -> str | None:
        """Who sells the item, where that is known."""
        return next((fact.value for fact in self.attributes if fact.attribute == SELLER), None)


def _named(attributes: object) -> dict[object, object]:
    if isinstance(attributes, Mapping):
        return dict(attributes)
    if isinstance(attributes, list):
        return {pair["key"]: pair["value"] for pair in attributes}
    return {}


def _text(value: object, separator: str = ", ") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return separator.join(f"{name} {_text(part)}" for name, part in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return separator.join(part for part in map(_text, value) if part)
    text = str(value)
    return _short_fact(text) if len(text) <= _SHORT else _fact(text)


def _fact(text: str) -> str:
    clean = sanitised(text)
    return "" if is_steering(clean) else clean


_short_fact: Final = lru_cache(_REMEMBERED)(_fact)  # categories, brands and values recur from item to item
