"""The gate: decides whether a text about an item may be published. Closed when anything fails."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, Protocol, runtime_checkable

from recsys.blurbs.checks import (
    claims,
    counts,
    degree,
    denial,
    duplication,
    forbidden,
    form,
    language,
    numbers,
    roles,
    safety,
    support,
)
from recsys.blurbs.checks.brands import Brands
from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.facts import Facts
from recsys.blurbs.ground import Ground
from recsys.blurbs.lexicon import Lexicon, Lexicons
from recsys.blurbs.verdict import Reason, Verdict

_KEPT_GROUNDS: Final = 1024
_TOO_LONG_TO_READ: Final = 4000
_DECIDING: Final = (
    *("bounds", "counting", "gate", "grammar", "ground", "lexicon", "phrases", "quantities", "roles"),
    *("stretches", "substances", "verdict", "wording"),
)
_CHECKS: Final[tuple[Callable[[Examined], Iterable[Reason]], ...]] = (
    form.check,
    language.check,
    numbers.check,
    counts.check,
    denial.check,
    degree.check,
    forbidden.check,
    claims.check,
    safety.check,
    roles.check,
    duplication.check,
)


@runtime_checkable
class EntailmentCheck(Protocol):
    """An optional learned check, such as :class:`recsys.blurbs.nli.Entailment`."""

    @property
    def version(self) -> str:
        """What identifies the model."""
        ...

    def check(self, examined: Examined) -> Iterable[Reason]:
        """Yield what speaks against the text; it can add reasons and never takes any away."""
        ...


class Gate:
    """All checks over one set of lexicons and brands. Safe to share between threads."""

    def __init__(
        self,
        lexicons: Lexicons | None = None,
        brands: Collection[str] = (),
        nli: EntailmentCheck | None = None,
    ) -> None:
        """Make a gate.

        Args:
            lexicons: The languages; the packaged ones when ``None``.
            brands: The catalogue's brands, which texts about other items must not name.
            nli: A learned check on top.
        """
        self._lexicons = lexicons if lexicons is not None else Lexicons.load()
        self._brands = Brands.of([*brands, *self._lexicons.brands])
        self._nli = nli
        self._version = _version(self._lexicons, brands, nli)
        self._ground = lru_cache(maxsize=_KEPT_GROUNDS)(self._prepared)

    @property
    def version(self) -> str:
        """Changes whenever a verdict may: a hash of the checks' code, lexicons, brands and model."""
        return self._version

    def check(self, facts: Facts, text: str, language: str, others: Sequence[str] = ()) -> Verdict:
        """Judge one text.

        Args:
            facts: What is known of the item.
            text: The text as it would be shown.
            language: The language that was asked for, BCP 47.
            others: Texts of the same category that are published already.

        Returns:
            The verdict. A check that fails makes it a rejection with the code ``gate_error``.
        """
        try:
            return self._verdict(facts, text, language, others)
        except Exception as error:  # noqa: BLE001 - closed whatever happens
            return Verdict.of([Reason("gate_error", type(error).__name__)])

    def _verdict(self, facts: Facts, text: str, language: str, others: Sequence[str]) -> Verdict:
        lexicon = self._lexicons.of(language)
        if lexicon is None:
            known = ", ".join(self._lexicons.languages)
            return Verdict.of(
                [Reason("unknown_language", f"no lexicon of {language!r}, expected one of {known}")]
            )
        if len(text) > _TOO_LONG_TO_READ:
            return Verdict.of([Reason("too_long", f"{len(text)} characters, at most {form.MAX_GRAPHEMES}")])
        examined = Examined(
            facts,
            self._ground(facts, lexicon.language),
            text,
            lexicon,
            self._lexicons.others(lexicon),
            others,
        )
        measured = support.measure(examined)
        return Verdict.of([*self._reasons(examined), *measured.reasons], measured.share)

    def _reasons(self, examined: Examined) -> Iterator[Reason]:
        for check in (*_CHECKS, self._brands.check):
            yield from check(examined)
        if self._nli is not None:
            yield from self._nli.check(examined)

    def _prepared(self, facts: Facts, language: str) -> Ground:
        lexicon = self._lexicons.of(language)
        assert isinstance(lexicon, Lexicon)
        return Ground.of(facts, lexicon, self._lexicons.others(lexicon), self._lexicons.attribute_units)


def _version(lexicons: Lexicons, brands: Collection[str], nli: EntailmentCheck | None) -> str:
    known = sha256(lexicons.version.encode())
    for part in (*sorted(set(brands)), "" if nli is None else nli.version, *_sources()):
        known.update(part.encode())
        known.update(b"\0")
    return known.hexdigest()[:16]


def _sources() -> Iterator[str]:
    """The text of all modules that decide, so that no change of code goes without a change of version."""
    package = files("recsys.blurbs")
    for name in _DECIDING:
        yield package.joinpath(f"{name}.py").read_text("utf-8")
    for file in sorted(package.joinpath("checks").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            yield file.read_text("utf-8")
