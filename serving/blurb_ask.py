"""What a request wants of blurbs: decoded and checked, with the policy that its experiments' arms gave it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.row import ANYBODY, LENGTHS, BlurbRow, BlurbSlot, Source
from recsys.errors import FieldViolation
from recsys.experiments.book import UNTREATED, Treatment
from recsys.v1.types_pb2 import BlurbOptions

NO_BLURBS: Final = "none"
"""Policy of an arm that shows no blurbs; also the segment of a request that wants none."""
NO_MODEL: Final = "extractive"
"""Policy of an arm that shows the items' own words only; nothing is read for it."""

_MAX_LANGUAGES = 8
_MAX_LOOKED_UP = 6
_ANY = "*"
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_MAX_CHARS = LENGTHS["short"]
_REVIEWED = frozenset({Source.EXTRACTIVE, Source.GENERATED_REVIEWED, Source.HUMAN})
_OURS = frozenset({Source.EXTRACTIVE, Source.HUMAN})


@dataclass(frozen=True)
class BlurbAsk:
    """Which blurbs a list is to have."""

    languages: tuple[str, ...]
    """BCP 47, in order of preference, each followed by what it is a variety of."""
    any_language: bool
    """Whether words of the shop in any other language will do."""
    policy: str
    segment: str | None = None
    """``None`` for the one that the shopper leans to."""
    max_chars: int = _MAX_CHARS
    """In extended grapheme clusters."""
    allow_generated: bool = True
    require_reviewed: bool = False
    with_facts: bool = False
    """Whether the facts that a text uses are to come along."""

    @cached_property
    def lengths(self) -> tuple[str, ...]:
        """Length classes, the one that suits first."""
        longest_first = sorted(LENGTHS, key=LENGTHS.__getitem__, reverse=True)
        fitting = [name for name in longest_first if LENGTHS[name] <= self.max_chars]
        others = [name for name in reversed(longest_first) if name not in fitting]
        return (*fitting, *others)

    @cached_property
    def _primaries(self) -> frozenset[str]:
        return frozenset(language.partition("-")[0] for language in self.languages)

    def shelf(self, segment: str) -> str:
        """Names everything of the ask that decides which rows are read."""
        return f"{self.policy}\n{segment}\n{','.join(self.languages)}\n{self.lengths[0]}"

    def slots(self, item_id: str, segment: str) -> list[BlurbSlot]:
        """Where an item's blurb may lie, what is preferred first: language, then segment, then length."""
        segments = (segment, ANYBODY) if segment else (ANYBODY,)
        return [
            BlurbSlot(item_id, language, each, length, self.policy)
            for language in self.languages
            for each in segments
            for length in self.lengths
        ]

    def allows(self, row: BlurbRow) -> bool:
        """Whether the request takes words of a row's origin."""
        if row.ai_generated and not self.allow_generated:
            return False
        return row.source in (_REVIEWED if self.require_reviewed else Source)

    def takes(self, language: str) -> bool:
        """Whether words of the shop in this language may be shown; ``""`` is a language nobody knows."""
        return self.any_language or not language or language.partition("-")[0].lower() in self._primaries


def blurb_ask(
    options: BlurbOptions,
    config: BlurbConfig,
    treatment: Treatment = UNTREATED,
    *,
    with_facts: bool = False,
) -> BlurbAsk | None:
    """What sound options ask for; ``None`` where an arm shows no blurbs.

    Args:
        options: Without violations, see ``blurb_violations``; not asked whether they are enabled.
        config: The shop's.
        treatment: What experiments make of the request.
        with_facts: See ``BlurbAsk``.
    """
    policy = treatment.blurbs or config.policy
    if policy == NO_BLURBS:
        return None
    given = list(options.language_codes)
    return BlurbAsk(
        languages=_looked_up([code for code in given if code != _ANY] or list(config.languages)),
        any_language=not given or given[-1] == _ANY,
        policy=policy,
        segment=ANYBODY if options.segment == NO_BLURBS else options.segment or None,
        max_chars=min(options.max_chars or _MAX_CHARS, _MAX_CHARS),
        allow_generated=options.allow_generated if options.HasField("allow_generated") else True,
        require_reviewed=options.require_reviewed,
        with_facts=with_facts,
    )


def blurb_violations(options: BlurbOptions, config: BlurbConfig, field: str) -> Iterator[FieldViolation]:
    """What is wrong with options.

    Args:
        options: As they came.
        config: The shop's.
        field: Where they stand in the request.
    """
    codes = options.language_codes
    if len(codes) > _MAX_LANGUAGES:
        problem = f"expected at most {_MAX_LANGUAGES} tags, got {len(codes)}"
        yield FieldViolation(f"{field}.language_codes", problem)
    for index, code in enumerate(codes[:_MAX_LANGUAGES]):
        is_last = index == len(codes) - 1
        if not (code == _ANY and is_last) and not (len(code) <= 35 and _LANGUAGE.fullmatch(code)):
            problem = f"expected a BCP 47 tag, or * as the last entry, got {code[:40]!r}"
            yield FieldViolation(f"{field}.language_codes[{index}]", problem)
    if options.max_chars < 0:
        yield FieldViolation(f"{field}.max_chars", f"expected 0 or more, got {options.max_chars}")
    if options.segment and options.segment != NO_BLURBS and options.segment not in config.segments:
        known = ", ".join([NO_BLURBS, *config.segments])
        problem = f"expected one of {known}; got {options.segment[:40]!r}"
        yield FieldViolation(f"{field}.segment", problem)


def _looked_up(codes: list[str]) -> tuple[str, ...]:
    """Every tag as it is usually written, followed by its shorter forms.

    Source: RFC 4647, section 3.4, "Lookup".
    """
    found: dict[str, None] = {}
    for code in codes:
        parts = [_cased(part, first=not index) for index, part in enumerate(code.split("-"))]
        for end in range(len(parts), 0, -1):
            found["-".join(parts[:end])] = None
    return tuple(found)[:_MAX_LOOKED_UP]


def _cased(part: str, *, first: bool) -> str:
    if first or len(part) not in {2, 4} or not part.isalpha():
        return part.lower()
    return part.upper() if len(part) == 2 else part.title()
