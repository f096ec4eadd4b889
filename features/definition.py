"""What a feature is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """One column of the ranker's input."""

    name: str
    meaning: str
    """What the number says, with its unit; NaN is always "there is none"."""
    words: str
    """A reason a shopper understands, for an item whose score this feature raised; a format string of its
    ``value``."""


def days(value: float) -> str:
    """A number of days as a suffix of feature names: ``7.0`` is ``7d``."""
    return f"{value:g}d"
