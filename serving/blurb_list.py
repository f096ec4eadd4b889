"""The blurbs of one list, as they are answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from recsys.blurbs.row import ANYBODY, Source


class Freshness(StrEnum):
    """How a blurb stands to what was approved."""

    FRESH = "FRESH"
    STALE = "STALE"
    FALLBACK = "FALLBACK"


class ShownBlurb(NamedTuple):
    """A blurb as it is answered; a tuple, since a list has many."""

    text: str
    source: Source
    freshness: Freshness
    language: str
    blurb_id: str
    ai_generated: bool = False
    model: str = ""
    prompt_version: str = ""
    generated_at: int | None = None
    """Milliseconds since the epoch, UTC."""
    fact_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListBlurbs:
    """The blurbs of one list."""

    shown: Mapping[str, ShownBlurb] = field(default_factory=dict)
    """By item; items that have none are left out."""
    segment: str = ANYBODY
    """Whom they may speak to; the later pages have the same."""
    awaited: tuple[str, ...] = ()
    """Items whose blurb is not the one that was asked for, and may come yet."""


NO_BLURBS_ASKED = ListBlurbs()
"""Of a list that was to have none."""
