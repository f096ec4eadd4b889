"""What is known of an item and may be said of it: the only ground that a blurb's text stands on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self


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


@dataclass(frozen=True, slots=True)
class Facts:
    """An item as blurbs see it. Price and availability are never part of it: they change while texts stay.

    Attributes:
        item_id: The item.
        title: Its title; ``""`` when unknown, as for all texts here.
        brand: Its brand.
        category: Its categories, root first, joined by `` > ``.
        description: Free text, the least trusted part.
        attributes: All other facts, tags among them.
    """

    item_id: str
    title: str
    brand: str
    category: str
    description: str
    attributes: tuple[Fact, ...]

    @classmethod
    def of(cls, item: Mapping[str, object]) -> Self:
        """Read an item of the data contract.

        Args:
            item: ``item_id``, ``title``, ``description``, ``brand``, ``category`` (text or list), ``tags``
                (list) and ``attributes`` (map, or a list of ``{key, value}`` as catalogue tables have them);
                every key but ``item_id`` may be absent or ``None``.
        """
        named = _named(item.get("attributes"))
        named |= {"tags": item["tags"]} if item.get("tags") else {}
        values = sorted((str(name), _text(value)) for name, value in named.items())
        known = [(name, value) for name, value in values if value]
        return cls(
            item_id=_text(item.get("item_id")),
            title=_text(item.get("title")),
            brand=_text(item.get("brand")),
            category=_text(item.get("category"), " > "),
            description=_text(item.get("description")),
            attributes=tuple(
                Fact(f"f{number}", name, value) for number, (name, value) in enumerate(known, 1)
            ),
        )


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
    return str(value).strip()
