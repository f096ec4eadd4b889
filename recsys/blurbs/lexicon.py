"""What the gate knows of one language: its function words, its claims, and what no text may say.

Lexicons are YAML files. The package brings some; a shop's own files of the same form extend them, entry by
entry, so that an owner adds a word without copying the rest.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import yaml

from recsys.blurbs.bounds import Bounds
from recsys.blurbs.grammar import Grammar
from recsys.blurbs.phrases import Phrases
from recsys.blurbs.quantities import Units
from recsys.blurbs.wording import Wording
from recsys.errors import ConfigError

_SHARED: Final = ("units", "attributes", "brands")
BANNED_EXCEPT_IN_TITLES: Final = MappingProxyType(
    {"refusals": "refusal", "history": "history", "sensitive": "sensitive"}
)
"""Lists whose phrases may be quoted from a title, with the code of their reason."""
_PACKAGED: Final = "recsys.blurbs.lexicons"


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement that needs proof.

    Attributes:
        policy: ``supported``: allowed when a structured fact makes it; ``review``: a person decides;
            ``never``: not allowed.
        entails: Other claims that follow from it.
    """

    policy: str
    entails: frozenset[str]


@dataclass(frozen=True)
class Lexicon:
    """One language, ready to match. Made of the merged files by :meth:`Lexicons.load`."""

    language: str
    script: str
    wording: Wording
    units: Units
    claims: Mapping[str, Claim]
    claim_phrases: Phrases
    banned: Phrases
    profanity: frozenset[str]
    han_profanity: tuple[str, ...]
    implies: Mapping[tuple[str, ...], tuple[tuple[str, ...], ...]]
    rivals: tuple[frozenset[str], ...]
    bounds: Bounds
    grammar: Grammar = field(default_factory=Grammar)

    @classmethod
    def of(cls, tree: Mapping[str, Any], units: Units) -> "Lexicon":
        """Compile a merged file."""
        wording = Wording.of(tree)
        claims, is_han = tree.get("claims", {}), tree["script"] == "han"
        return cls(
            language=tree["language"],
            script=tree["script"],
            wording=wording,
            units=units,
            bounds=Bounds.of(tree.get("bounds", {})),
            grammar=Grammar.of(tree),
            claims={name: _claim(claim) for name, claim in claims.items()},
            claim_phrases=Phrases.of(_strictest_first(claims)),
            banned=Phrases.of(
                tree.get("forbidden", {})
                | {code: tree.get(name, ()) for name, code in BANNED_EXCEPT_IN_TITLES.items()}
            ),
            profanity=frozenset(_words(tree.get("profanity", ()))),
            han_profanity=tuple(
                word for word in _words(tree.get("profanity", ())) if not word.isascii() and is_han
            ),
            implies=_implications(tree.get("implies", {}), wording),
            rivals=tuple(
                frozenset(key for word in _words(group) for key in wording.keys(word))
                for group in tree.get("rivals", ())
            ),
        )

    def closure(self, claims: Iterable[str]) -> frozenset[str]:
        """The claims with all that follows from them."""
        known, open_claims = set[str](), list(claims)
        while open_claims:
            claim = open_claims.pop()
            if claim not in known:
                known.add(claim)
                open_claims += self.claims[claim].entails if claim in self.claims else ()
        return frozenset(known)


@dataclass(frozen=True)
class Lexicons:
    """All languages that texts may have, with units, attributes' units and well-known brands.

    Attributes:
        trees: The merged files by name: a language, ``units``, ``attributes`` or ``brands``.
    """

    trees: Mapping[str, Mapping[str, Any]]
    _compiled: dict[str, Lexicon] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, paths: Iterable[Path] = ()) -> "Lexicons":
        """Read the packaged lexicons, and a shop's own on top of them.

        Args:
            paths: Files named as the packaged ones (``de.yaml``), or directories of such. Lists grow,
                maps are merged, and a value of a map is replaced; ``remove:`` beside a list's name takes
                entries out, as in ``remove: {neutral: [fresh]}``.

        Raises:
            ConfigError: A file cannot be read or is no lexicon.
        """
        trees: dict[str, Mapping[str, Any]] = {
            Path(file.name).stem: yaml.load(file.read_text("utf-8"), _LOADER)
            for file in files(_PACKAGED).iterdir()
            if file.name.endswith(".yaml")
        }
        for path in _files(paths):
            trees[path.stem] = merged(trees.get(path.stem, {}), _read(path))
        lexicons = cls(trees)
        for language in lexicons.languages:
            lexicons.of(language)
        return lexicons

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that there is a lexicon for."""
        return tuple(sorted(name for name in self.trees if name not in _SHARED))

    def of(self, language: str) -> Lexicon | None:
        """The lexicon of a BCP 47 language, by its first part; ``None`` if there is none."""
        name = language.lower().replace("_", "-").split("-")[0]
        if name not in self.languages:
            return None
        if name not in self._compiled:
            self._compiled[name] = self._compile(name)
        return self._compiled[name]

    def others(self, lexicon: Lexicon) -> tuple[Lexicon, ...]:
        """All lexicons but one."""
        found = (self.of(name) for name in self.languages if name != lexicon.language)
        return tuple(other for other in found if other is not None)

    def _compile(self, name: str) -> Lexicon:
        tree = self.trees[name]
        try:
            return Lexicon.of({"language": name} | dict(tree), Units.of(self.trees["units"], tree))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ConfigError(f"the lexicon {name!r} is not in the packaged ones' form: {error!r}") from error

    @property
    def brands(self) -> tuple[str, ...]:
        """Well-known brands."""
        return tuple(self.trees["brands"]["brands"])

    @property
    def attribute_units(self) -> Mapping[str, str]:
        """The unit of a bare number by the attribute's name."""
        return self.trees["attributes"]

    @cached_property
    def version(self) -> str:
        """A hash of everything that was read."""
        canonical = json.dumps(self.trees, sort_keys=True, ensure_ascii=False)
        return sha256(canonical.encode()).hexdigest()[:12]


_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def merged(tree: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``tree`` extended by ``more``."""
    result = dict(tree)
    removed = more.get("remove", {})
    for name, value in more.items():
        old = result.get(name)
        if name == "remove":
            continue
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = merged(old, value)
        elif isinstance(value, list) and old is not None:
            result[name] = [*_words(old), *value]
        elif isinstance(old, list | str) and name in _WORD_LISTS:
            result[name] = [*_words(old), *_words(value)]
        else:
            result[name] = value
    for name, words in removed.items():
        result[name] = [word for word in _words(result.get(name, ())) if word not in words]
    return result


_WORD_LISTS: Final = (
    *("stop_words", "neutral", "usage", "profanity", "absence", "diminishing", "allergens", "audience"),
    *("quantifiers", "checkable"),
    *(one.name for one in fields(Grammar)),
)


def _words(words: str | Iterable[str]) -> list[str]:
    return words.split() if isinstance(words, str) else list(words)


def _claim(tree: Mapping[str, Any]) -> Claim:
    policy = tree.get("policy", "supported")
    if policy not in {"supported", "review", "never"}:
        raise ValueError(f"policy is {policy!r}, expected supported, review or never")
    return Claim(policy, frozenset(tree.get("entails", ())))


def _strictest_first(claims: Mapping[str, Any]) -> dict[str, list[str]]:
    """Phrases by claim; those never allowed first, as of expressions at one place the first one counts."""
    ordered = sorted(claims, key=lambda name: claims[name].get("policy") != "never")
    return {name: claims[name]["phrases"] for name in ordered}


def _implications(
    tree: Mapping[str, Iterable[str]], wording: Wording
) -> dict[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    result: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {}
    for known, implied in tree.items():
        keys = wording.keys(str(known))
        result[keys] = (*result.get(keys, ()), *(wording.keys(str(words)) for words in implied))
    return result


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield from sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        tree = yaml.load(path.read_text("utf-8"), _LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the lexicon {path} cannot be read: {error}") from error
    if not isinstance(tree, Mapping):
        raise ConfigError(f"the lexicon {path} holds no map; start from the form of the packaged en.yaml")
    return tree
