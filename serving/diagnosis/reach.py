"""Whether a candidate source can offer an item to anybody at all, from what the source itself reads.

Of a source without an entry in ``_RULES``, only a sample of users can tell.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.candidates import SOURCES
from recsys.config import CandidateConfig
from recsys.index import VectorIndex
from recsys.moment import Moment
from recsys.neighbours import Neighbours


@dataclass(frozen=True)
class Reach:
    """What a source could do with an item."""

    source: str
    can_offer: bool | None
    """``None`` where that depends on the user."""
    why: str


def reach(
    moment: Moment, position: int, sources: tuple[str, ...], config: CandidateConfig
) -> tuple[Reach, ...]:
    """Ask the rule of each source.

    Args:
        moment: Anybody's moment; only what is the same for everybody is read.
        position: The item's catalogue position.
        sources: The sources to ask, by name.
        config: How much each source may offer.
    """
    return tuple(
        Reach(name, *_RULES[name](moment, position, config))
        if name in _RULES
        else Reach(name, None, "that depends on the user")
        for name in sources
    )


def popularity_rank(moment: Moment, position: int) -> int | None:
    """Place among all items as the source ``popular`` orders them, from 1; ``None`` when nobody wants it."""
    return _place("popular", moment, position)


_Answer = tuple[bool, str]


def _text(moment: Moment, position: int, config: CandidateConfig) -> _Answer:
    return _by_vector(moment.parts.index, moment, position, config.text)


def _words(moment: Moment, position: int, config: CandidateConfig) -> _Answer:
    return _by_vector(moment.parts.words, moment, position, config.words)


def _co_occurrence(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    return _by_neighbours(moment.parts.tables.co_occurrence, position)


def _following(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    return _by_neighbours(moment.parts.tables.following, position)


def _ease(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    return _by_neighbours(moment.parts.tables.ease, position)


def _als(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    known = bool(np.isin(position, moment.parts.tables.als.items))
    return (
        known,
        "to users it meets in the factors" if known else "fewer than 3 users had it, so it has no factors",
    )


def _alike(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    unknown = bool(np.isin(position, moment.parts.tables.resemblance.unknown))
    return (
        unknown,
        "to users whose neighbours predict what it reads like"
        if unknown
        else "3 or more users had it, or another item with its text stands for it",
    )


def _popular(moment: Moment, position: int, config: CandidateConfig) -> _Answer:
    return _within(_place("popular", moment, position), config.popular)


def _adopted(moment: Moment, position: int, config: CandidateConfig) -> _Answer:
    return _within(_place("adopted", moment, position), config.adopted)


def _trending(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    if moment.parts.catalogue.attribute_codes["category"][position] < 0:
        return False, "it has no category"
    if moment.popularity.engagement[len(moment.popularity.engagement) // 2][position] <= 0:
        return False, "nobody touches it now"
    return True, "to users who favour its category"


def _own(moment: Moment, position: int, _: CandidateConfig) -> _Answer:
    touched = bool((moment.popularity.engagement[:, position] > 0).any())
    return touched, "to users who had it" if touched else "nobody had it lately"


_RULES: dict[str, Callable[[Moment, int, CandidateConfig], _Answer]] = {
    "own": _own,
    "text": _text,
    "words": _words,
    "co_occurrence": _co_occurrence,
    "following": _following,
    "ease": _ease,
    "als": _als,
    "alike": _alike,
    "popular": _popular,
    "adopted": _adopted,
    "trending": _trending,
}


def _by_vector(index: VectorIndex, moment: Moment, position: int, limit: int) -> _Answer:
    """Whether the item is found with the vector that suits it best, its own."""
    texts = moment.parts.catalogue.text_of_item
    if not index.of_items(np.asarray([position])).any():
        return False, "its text has no vector"
    own_vector = index.of_items(np.asarray([position]))[0]
    found = index.nearest_items(own_vector, limit, moment.popularity.engagement[-1])
    equal = found[texts[found] == texts[position]]
    sharing = int((texts == texts[position]).sum()) - 1
    if not sharing:
        return position in found.tolist(), "no other item has its text"
    if position not in equal.tolist():
        return False, f"{sharing:,} items have the same text, and more popular ones are taken before it"
    before = equal.tolist().index(position)
    return True, f"{sharing:,} items have the same text; {before:,} of them come before it"


def _by_neighbours(table: Neighbours, position: int) -> _Answer:
    num = table.num_sources(position)
    return num > 0, f"{num:,} items speak for it"


def _place(source: str, moment: Moment, position: int) -> int | None:
    """Place in the whole order of a source, from 1; ``None`` when the source never offers it."""
    unlimited = moment.parts.config.candidates.model_copy(update={source: len(moment.parts.catalogue)})
    found = np.flatnonzero(SOURCES[source](moment, unlimited, np.empty(0, np.int64)) == position)
    return int(found[0]) + 1 if len(found) else None


def _within(place: int | None, limit: int) -> _Answer:
    if place is None:
        return False, f"it has no place; the first {limit:,} are offered"
    return place <= limit, f"it is number {place:,}; the first {limit:,} are offered"
