"""Off switches: what shows no blurb at all, whatever has been approved."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from recsys.blurbs.term import folded
from recsys.errors import StoreError

Scope = Literal["everything", "category", "item", "seller"]
"""What a switch turns off."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

_VERSION: Final = 1


@dataclass(frozen=True)
class OffSwitches:
    """What is off; the default is nothing."""

    everything: bool = False
    categories: frozenset[str] = frozenset()
    """Any part of an item's category path, as ``recsys.blurbs.term.folded``: case is ignored."""
    item_ids: frozenset[str] = frozenset()
    sellers: frozenset[str] = frozenset()
    """Values of an item's attribute ``seller``."""

    def hide(self, item_id: str, category: Iterable[str], seller: str | None) -> bool:
        """Whether an item shows no blurb.

        Args:
            item_id: The item.
            category: Its category path.
            seller: Its attribute ``seller``, if it has one.
        """
        return (
            self.everything
            or item_id in self.item_ids
            or (seller is not None and seller in self.sellers)
            or (bool(self.categories) and not self.categories.isdisjoint(map(folded, category)))
        )

    @classmethod
    def of(cls, rows: Iterable[tuple[Scope, str]]) -> "OffSwitches":
        """From scopes and what they name; ``everything`` names nothing."""
        by_scope: dict[str, set[str]] = {scope: set() for scope in SCOPES}
        for scope, name in rows:
            by_scope[scope].add(name)
        return cls(
            bool(by_scope["everything"]),
            frozenset(map(folded, by_scope["category"])),
            frozenset(by_scope["item"]),
            frozenset(by_scope["seller"]),
        )

    def to_bytes(self) -> bytes:
        """The inverse of ``from_bytes``."""
        lists = [sorted(names) for names in (self.categories, self.item_ids, self.sellers)]
        return bytes((_VERSION,)) + json.dumps([self.everything, *lists], ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "OffSwitches":
        """Read what ``to_bytes`` wrote.

        Raises:
            StoreError: The bytes are damaged or of another version.
        """
        if not raw or raw[0] != _VERSION:
            raise StoreError(f"off switches of version {raw[0] if raw else 'none'}, expected {_VERSION}")
        try:
            everything, *lists = json.loads(raw[1:])
            categories, item_ids, sellers = (frozenset(names) for names in lists)
        except (ValueError, TypeError) as error:
            raise StoreError(f"off switches cannot be read: {type(error).__name__}") from error
        return cls(bool(everything), frozenset(map(folded, categories)), item_ids, sellers)


def names_same(scope: Scope, name: str, other: str) -> bool:
    """Whether two names of a scope name the same."""
    return name == other or (scope == "category" and folded(name) == folded(other))
