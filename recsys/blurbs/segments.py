"""The closed list of interests that blurbs may speak to: never a person, never a sensitive trait."""

import re
from collections.abc import Mapping
from typing import Final

MAX_SEGMENTS: Final = 20
MAX_LINE_CHARS: Final = 200

DEFAULT_SEGMENTS: Final[Mapping[str, str]] = {
    "budget": "The reader looks for plain, useful things that do their job.",
    "gift": "The reader looks for something to give to somebody.",
    "outdoor": "The reader likes to be outdoors.",
    "travel": "The reader travels and packs light.",
    "home": "The reader furnishes and keeps a home.",
    "kitchen": "The reader likes to cook and bake.",
    "office": "The reader works at a desk.",
    "sport": "The reader does sport.",
    "garden": "The reader gardens.",
    "craft": "The reader makes and mends things by hand.",
    "technology": "The reader likes technical detail.",
    "reading": "The reader likes books.",
    "music": "The reader listens to music or plays it.",
    "film": "The reader likes films and series.",
    "games": "The reader plays games.",
    "style": "The reader cares for material, colour and cut.",
    "beginner": "The reader is new to this kind of product.",
    "expert": "The reader knows this kind of product well.",
    "everyday": "The reader buys for every day.",
    "quality": "The reader cares for how a thing is made.",
}
"""Name of the segment to the line that the model is told about it."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SENSITIVE: Final = re.compile(
    r"\b(?:health\w*|ill(?:ness)?|disease\w*|diabet\w*|disab\w*|pregnan\w*|relig\w*|christian|muslim|jew\w*|"
    r"ethnic\w*|race|racial|gay|lesbian|queer|trans|sexual\w*|orientation|politic\w*|union|"
    r"minors?|child(?:ren)?|kids?|poor|debt\w*|overweight|divorc\w*|widow\w*|alcohol\w*|addict\w*)\b",
    re.IGNORECASE,
)


def check_segments(segments: Mapping[str, str]) -> None:
    """Refuse a list that is too long, badly named, or speaks of what nobody may be sorted by.

    Raises:
        ValueError: With the segment and what is wrong with it.
    """
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"expected at most {MAX_SEGMENTS} segments, got {len(segments)}")
    for name, line in segments.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"segment {name!r}: expected a name of a-z, 0-9, - and _, at most 32 long")
        if not line.strip() or len(line) > MAX_LINE_CHARS or "\n" in line:
            raise ValueError(f"segment {name!r}: expected one line of 1 to {MAX_LINE_CHARS} characters")
        if found := _SENSITIVE.search(f"{name} {line}"):
            raise ValueError(f"segment {name!r} speaks of {found[0]!r}, by which nobody may be sorted")
