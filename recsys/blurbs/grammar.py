"""The words by which a language says what a thing is, what it is made of, and what is a part of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from recsys.blurbs.wording import forms


@dataclass(frozen=True)
class Grammar:
    """Lists of a lexicon, in plain form; any may be empty, and then what it serves is not checked.

    Attributes:
        traits: Materials and colours.
        trait_names: Names of attributes that tell the material or colour of the item.
        work_names: Names of attributes of works, such as films, whose texts tell what happens in them.
        determiners: Words before a noun, such as *a* and *this*.
        conjunctions: *And* and *or*.
        making: *Made* and the like.
        links: What stands before a substance after any noun: *of*.
        made_with: What stands before a substance after *made*.
        having: What stands before what something has: *with*.
        closers: Words of grammar that may follow on the noun that a text without a verb begins with.
        copulas: *Is* and the like.
        purposes: What stands before a use, as in *for hiking*, which makes it a hiking jacket.
        openers: Verbs that a text may begin with.
    """

    traits: frozenset[str] = frozenset()
    trait_names: frozenset[str] = frozenset()
    work_names: frozenset[str] = frozenset()
    determiners: frozenset[str] = frozenset()
    conjunctions: frozenset[str] = frozenset()
    making: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    made_with: frozenset[str] = frozenset()
    having: frozenset[str] = frozenset()
    closers: frozenset[str] = frozenset()
    copulas: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    openers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "Grammar":
        """Read the lists of a lexicon's file."""
        return cls(**{field.name: forms(tree, field.name) for field in fields(cls)})
