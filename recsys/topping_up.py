"""More of what a query asks for than the sources offer: where a filter leaves little, and what is pinned."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from recsys.admissible import passes
from recsys.candidates import Candidates, Offer, topped_up, whole_catalogue
from recsys.config import CandidateConfig
from recsys.gathered import Gathered, Inspection
from recsys.moment import Moment
from recsys.passing import MOST_ASKED, joined, of_passing
from recsys.resolved_query import ResolvedQuery


def with_matching(gathered: Gathered, asked: ResolvedQuery, config: CandidateConfig) -> Gathered:
    """What was gathered, with more of what the filter asks for where too little of it was.

    The most popular of it are ranked along, so that a filter which leaves next to nothing fills the page.

    Args:
        gathered: What the sources offer.
        asked: The query.
        config: How much each source may offer.

    Raises:
        InvalidRequestError: The filter cannot be read.
    """
    query = asked.query
    if not query.filter:
        return gathered
    if not gathered.moment.parts.index.reads_all:
        gathered = _with_nearest(gathered, asked, config)
    if asked.placement.starts_from == "query":
        return gathered
    moment, offered = gathered.moment, gathered.candidates
    if Inspection(moment, offered, passes(offered.positions, moment, asked)).keep.sum() >= query.limit:
        return gathered
    best_first = _passing(_matching(moment, query.filter), moment, asked)
    return replace(gathered, candidates=topped_up(offered, best_first[: query.limit]))


def with_pins(gathered: Gathered, asked: ResolvedQuery) -> Gathered:
    """What was gathered, and pinned items among it, so that they get a score; no source offers them."""
    pins = asked.rules.pins
    if not pins:
        return gathered
    pinned = np.unique([pin.position for pin in pins])
    return replace(gathered, candidates=topped_up(gathered.candidates, pinned, source=None))


def _with_nearest(gathered: Gathered, asked: ResolvedQuery, config: CandidateConfig) -> Gathered:
    """What was gathered, with the nearest of what the filter asks for where little of it was."""
    moment, offered = gathered.moment, gathered.candidates
    matching = moment.parts.catalogue.matching(asked.query.filter)
    if np.count_nonzero(matching[offered.positions]) >= config.text:
        return gathered
    best_first = _matching(moment, asked.query.filter)
    if len(best_first) > MOST_ASKED:
        return gathered
    best_first = _passing(best_first, moment, asked)
    more: Candidates = of_passing(moment, asked.sources, config, asked.context, best_first)
    return replace(gathered, candidates=joined(offered, more))


def _matching(moment: Moment, item_filter: str) -> Offer:
    """All items that a filter lets pass, most popular first."""
    everything = whole_catalogue(moment)
    matching: Offer = everything[moment.parts.catalogue.matching(item_filter)[everything]]
    return matching


def _passing(positions: Int64[np.ndarray, " items"], moment: Moment, asked: ResolvedQuery) -> Offer:
    """Those of some items that may be shown, in their order."""
    passing: Offer = positions[np.logical_and.reduce(list(passes(positions, moment, asked).values()))]
    return passing
