"""Rules over one catalogue: which items each of them means is found out once, and read at every request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from recsys.catalogue import Catalogue
from recsys.rules import Boost, Bury, Cap, Exclude, Pin, Rule


@dataclass(frozen=True, eq=False)
class Meant:
    """A rule with the items that it means."""

    rule: Rule
    items: Bool[np.ndarray, " items"]
    """By catalogue position."""


@dataclass(frozen=True, eq=False)
class Pinned:
    """An item that a rule puts on a place."""

    name: str
    position: int
    """Catalogue position."""
    place: int
    """0 the first."""


@dataclass(frozen=True, eq=False)
class ActiveRules:
    """The rules that apply to one request, each kind in the file's order."""

    moves: tuple[Meant, ...] = ()
    """Boosts and buries."""
    caps: tuple[Meant, ...] = ()
    pins: tuple[Pinned, ...] = ()
    excluded: Bool[np.ndarray, " items"] | None = None
    """Items that are left out; ``None`` for none."""


NONE_ACTIVE = ActiveRules()


class RuleBook:
    """The rules of a shop over a catalogue."""

    def __init__(self, rules: Sequence[Rule], catalogue: Catalogue) -> None:
        self.meant = tuple(Meant(rule, _items(rule, catalogue)) for rule in rules)

    def active(self, placement: str, attributes: Mapping[str, str], as_of_ms: int) -> ActiveRules:
        """The rules for a request, see ``recsys.rules``."""
        if not self.meant:
            return NONE_ACTIVE
        found = [meant for meant in self.meant if meant.rule.applies(placement, attributes, as_of_ms)]
        excluded = [meant.items for meant in found if isinstance(meant.rule, Exclude)]
        return ActiveRules(
            moves=tuple(meant for meant in found if isinstance(meant.rule, Boost | Bury)),
            caps=tuple(meant for meant in found if isinstance(meant.rule, Cap)),
            pins=tuple(
                Pinned(meant.rule.name, int(np.argmax(meant.items)), meant.rule.position)
                for meant in found
                if isinstance(meant.rule, Pin) and meant.items.any()
            ),
            excluded=np.logical_or.reduce(excluded) if excluded else None,
        )


def _items(rule: Rule, catalogue: Catalogue) -> Bool[np.ndarray, " items"]:
    if isinstance(rule, Pin):
        pinned: Bool[np.ndarray, " items"] = np.arange(len(catalogue)) == catalogue.position.get(
            rule.item_id, -1
        )
        return pinned
    return catalogue.matching(rule.filter) if rule.filter else np.ones(len(catalogue), np.bool_)
