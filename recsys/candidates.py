"""Candidate sources: each offers items for a moment; their offers are merged with the sources' names kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64, UInt32

from recsys.config import CandidateConfig, SourceName
from recsys.item_scores import strongest
from recsys.moment import Moment

Offer = Int64[np.ndarray, "_"]
"""Catalogue positions, best first."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Distinct items with the sources that offered them."""

    positions: Int64[np.ndarray, " candidates"]
    """Catalogue positions, ascending."""
    sources: UInt32[np.ndarray, " candidates"]
    """Bit ``i`` is set where the source ``SOURCE_NAMES[i]`` offered the item."""
    score: Float64[np.ndarray, " candidates"]
    """Retrieval score: reciprocal ranks summed over the sources, see ``merge``."""


def own(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items of the user's history, strongest engagement over the longest half-life first."""
    items: Offer = moment.user.positions[strongest(moment.user.engagement[:, -1], config.own)]
    return items


def text(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items nearest to the interest vector."""
    return moment.parts.index.nearest_items(moment.user_vector, config.text, moment.popularity.engagement[-1])


def words(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items nearest to the mean of the recent items, in the pretrained encoder's space."""
    if not len(moment.user.recent.positions):
        return np.empty(0, np.int64)
    return moment.parts.words.nearest_items(
        moment.words_vector, config.words, moment.popularity.engagement[-1]
    )


def co_occurrence(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items new to the user that go with the recent ones."""
    return moment.together.strongest(config.co_occurrence, moment.user.positions)


def following(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items new to the user that people take after the latest ones."""
    return moment.following.strongest(config.following, moment.user.positions)


def ease(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items new to the user that EASE predicts."""
    return moment.ease.strongest(config.ease, moment.user.positions)


def als(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items new to the user that the factorisation predicts."""
    return moment.als.strongest(config.als, moment.user.positions)


def alike(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items that next to nobody had, which read like what the neighbours predict."""
    scores = moment.parts.tables.resemblance.of_unknown((moment.ease, moment.following))
    return scores.strongest(config.alike, moment.user.positions)


def popular(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items most popular over the middle half-life."""
    return moment.popularity.most_engaging(config.popular)


def adopted(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items that win most users who never had them, over the middle half-life."""
    return moment.parts.most_adopted[: config.adopted]


def whole_catalogue(moment: Moment) -> Offer:
    """Every item, as ``popular`` orders them, then by adoption; for when nothing else is left to offer."""
    return moment.popularity.everything(moment.parts.tables.history.adoption[-1])


def taste(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items new to the user that win new users in the categories that the user favours."""
    order = moment.parts.adopted_by_category
    return order.strongest(moment.liked("category"), config.taste, moment.user.positions)


def trending(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items popular over the middle half-life, weighted by what the user does in their category."""
    order = moment.popularity.engaging_by_category
    return order.strongest(np.sqrt(moment.liked("category")), config.trending)


def similar_text(moment: Moment, config: CandidateConfig, context: Offer) -> Offer:
    """Items whose text is nearest to the context items'."""
    if not len(context):
        return context
    centre = moment.parts.index.of_items(context).mean(0)
    near = moment.parts.index.nearest_items(centre, config.similar, moment.popularity.engagement[-1])
    return near[~np.isin(near, context)]


def similar_co_occurrence(moment: Moment, config: CandidateConfig, context: Offer) -> Offer:
    """Items that go with the context items."""
    scores = moment.parts.tables.co_occurrence.scores(context, np.ones(len(context)))
    return scores.strongest(config.similar, context)


def similar_following(moment: Moment, config: CandidateConfig, context: Offer) -> Offer:
    """Items that people take after the context items."""
    scores = moment.parts.tables.following.scores(context, np.ones(len(context)))
    return scores.strongest(config.similar, context)


def rising(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items taken more of late than the longest half-life lets expect, the least likely by chance first.

    A steady item's decayed sum grows with its half-life, so that ``expected = S_long * h_short / h_long``;
    the score is ``(S_short - expected) / sqrt(expected + 1)``, a rate's surplus in standard deviations.
    Short is the second half-life, a week by default: the shortest would follow the days of the week.
    """
    engagement, half_lives = moment.popularity.engagement, moment.parts.config.state.half_lives_days
    short = min(1, len(half_lives) - 1)
    expected = np.maximum(engagement[-1], 0.0) * half_lives[short] / half_lives[-1]
    return strongest((engagement[short] - expected) / np.sqrt(expected + 1.0), config.rising)


def recent(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """The user's latest distinct items, newest first."""
    return moment.user.recent.positions[: config.recent]


def query_words(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items that have the query's words, the rarest words and most of them first."""
    if moment.sought is None:
        return np.empty(0, np.int64)
    return moment.sought.with_words(moment.popularity.engagement[-1], config.query)


def query_text(moment: Moment, config: CandidateConfig, _: Offer) -> Offer:
    """Items whose text means what the query does."""
    if moment.sought is None:
        return np.empty(0, np.int64)
    return moment.sought.nearest(moment.popularity.engagement[-1], config.query)


SOURCES: dict[str, Callable[[Moment, CandidateConfig, Offer], Offer]] = {
    "own": own,
    "text": text,
    "words": words,
    "co_occurrence": co_occurrence,
    "following": following,
    "ease": ease,
    "als": als,
    "alike": alike,
    "taste": taste,
    "trending": trending,
    "popular": popular,
    "adopted": adopted,
    "similar_text": similar_text,
    "similar_co_occurrence": similar_co_occurrence,
    "similar_following": similar_following,
    "rising": rising,
    "recent": recent,
    "query_words": query_words,
    "query_text": query_text,
}
SOURCE_NAMES = tuple(SOURCES)
QUERY_SOURCES: tuple[SourceName, ...] = ("query_words", "query_text")
"""Sources that offer nothing without a query."""


def gather(moment: Moment, names: tuple[str, ...], config: CandidateConfig, context: Offer) -> Candidates:
    """Ask each named source and merge what they offer.

    Args:
        moment: The user at a moment.
        names: Sources, by their names in ``SOURCES``.
        config: How much each source may offer.
        context: Catalogue positions of the context items.
    """
    return merge({name: SOURCES[name](moment, config, context) for name in names})


def merge(offers: dict[str, Offer]) -> Candidates:
    """Union of offers; the retrieval score sums ``1 / (60 + rank)`` over the sources, rank from 1.

    Source: Cormack et al., "Reciprocal rank fusion outperforms Condorcet and individual rank learning
        methods", SIGIR 2009.
    """
    everything = np.concatenate([*offers.values(), np.empty(0, np.int64)]).astype(np.int64)
    positions, inverse = np.unique(everything, return_inverse=True)
    sources = np.zeros(len(positions), np.uint32)
    score = np.zeros(len(positions))
    start = 0
    for name, offer in offers.items():
        rows = inverse[start : start + len(offer)]
        sources[rows] |= np.uint32(1 << SOURCE_NAMES.index(name))
        score[rows] += 1 / (61 + np.arange(len(offer)))
        start += len(offer)
    return Candidates(positions, sources, score)


def topped_up(candidates: Candidates, others: Offer, *, source: str | None = "popular") -> Candidates:
    """Candidates with some more items, as if a source, or none, had offered them last; they score 0."""
    new = others[~np.isin(others, candidates.positions)]
    positions = np.concatenate((candidates.positions, new))
    bit = np.uint32(0 if source is None else 1 << SOURCE_NAMES.index(source))
    sources = np.concatenate((candidates.sources, np.full(len(new), bit)))
    scores = np.concatenate((candidates.score, np.zeros(len(new))))
    order = np.argsort(positions, kind="stable")
    return Candidates(positions[order], sources[order], scores[order])


@lru_cache(4096)
def source_names(bits: int) -> tuple[str, ...]:
    """The names behind a bit set of ``Candidates.sources``."""
    return tuple(name for i, name in enumerate(SOURCE_NAMES) if bits >> i & 1)
