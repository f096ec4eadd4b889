"""What sources offer of the items that pass a filter, where a search through all texts reads a part of them.

A source offers a few hundred of millions, and a filter may leave none of these. So the sources that know how
near every item is are asked again, for the nearest of what passes.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Int64

from recsys.candidates import Candidates, Offer, merge
from recsys.config import CandidateConfig
from recsys.moment import Moment
from recsys.search import LEAST_SIMILARITY

MOST_ASKED: Final = 200_000
"""Items that may pass; of more than these, a search finds enough without being asked again."""


def of_passing(
    moment: Moment, names: tuple[str, ...], config: CandidateConfig, context: Offer, passing: Offer
) -> Candidates:
    """The nearest of some items by each of the named sources that can tell.

    Args:
        moment: The user at a moment.
        names: Sources, by their names in ``recsys.candidates.SOURCES``.
        config: How much each source may offer.
        context: Catalogue positions of the context items.
        passing: Catalogue positions of the items that may be shown, most popular first.
    """
    asked = {name: _OF_PASSING[name] for name in names if name in _OF_PASSING}
    return merge({name: offer(moment, config, context, passing) for name, offer in asked.items()})


def joined(candidates: Candidates, more: Candidates) -> Candidates:
    """Candidates of both, each with all its sources and the better of its scores."""
    positions = np.union1d(candidates.positions, more.positions)
    sources, score = np.zeros(len(positions), np.uint32), np.zeros(len(positions))
    for one in (candidates, more):
        rows = np.searchsorted(positions, one.positions)
        sources[rows] |= one.sources
        score[rows] = np.maximum(score[rows], one.score)
    return Candidates(positions, sources, score)


def _text(moment: Moment, config: CandidateConfig, _: Offer, passing: Offer) -> Offer:
    popularity = moment.popularity.engagement[-1]
    return moment.parts.index.nearest_of(moment.user_vector, config.text, popularity, passing)


def _words(moment: Moment, config: CandidateConfig, _: Offer, passing: Offer) -> Offer:
    if not len(moment.user.recent.positions):
        return np.empty(0, np.int64)
    popularity = moment.popularity.engagement[-1]
    return moment.parts.words.nearest_of(moment.words_vector, config.words, popularity, passing)


def _popular(_: Moment, config: CandidateConfig, __: Offer, passing: Offer) -> Offer:
    return passing[: config.popular]


def _similar_text(moment: Moment, config: CandidateConfig, context: Offer, passing: Offer) -> Offer:
    if not len(context):
        return context
    centre, popularity = moment.parts.index.of_items(context).mean(0), moment.popularity.engagement[-1]
    return moment.parts.index.nearest_of(centre, config.similar, popularity, passing)


def _query_words(moment: Moment, config: CandidateConfig, _: Offer, passing: Offer) -> Offer:
    if moment.sought is None:
        return np.empty(0, np.int64)
    everything = moment.sought.with_words(moment.popularity.engagement[-1], len(moment.parts.catalogue))
    found: Int64[np.ndarray, " found"] = everything[np.isin(everything, passing)][: config.query]
    return found


def _query_text(moment: Moment, config: CandidateConfig, _: Offer, passing: Offer) -> Offer:
    if moment.sought is None or moment.sought.vector is None:
        return np.empty(0, np.int64)
    words, vector = moment.parts.words, moment.sought.vector
    near = words.nearest_of(vector, config.query, moment.popularity.engagement[-1], passing)
    found: Int64[np.ndarray, " found"] = near[
        words.similarities(near, vector[None])[:, 0] >= LEAST_SIMILARITY
    ]
    return found


_OF_PASSING: Final[dict[str, Callable[[Moment, CandidateConfig, Offer, Offer], Offer]]] = {
    "text": _text,
    "words": _words,
    "popular": _popular,
    "similar_text": _similar_text,
    "query_words": _query_words,
    "query_text": _query_text,
}
