"""Gathered candidates, made into a list: scored, ordered, arranged and written out."""

import time
from collections.abc import Sequence

import numpy as np
import structlog
from jaxtyping import Bool, Float64

from recsys.admissible import can_be_shown
from recsys.answer import Explanation, RankedList, ServiceLevel
from recsys.arrangement import Arrangement, arrange, rearranges
from recsys.bundle import Bundle
from recsys.explaining import explained
from recsys.gathered import Gathered
from recsys.list_order import best_first, by_relevance, fused
from recsys.listing import Listing
from recsys.ranker import Ranker
from recsys.resolved_query import ResolvedQuery

NO_RANKER = "ranker_unavailable"
"""Degraded reason: the ranker failed, or there was no time left for it."""

_log = structlog.get_logger(__name__)


class ListMaker:
    """Makes lists with the rankers of one bundle; several threads may use it."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._ranker_failed = False

    def ranked(
        self,
        gathered: Gathered,
        keep: Bool[np.ndarray, " candidates"],
        asked: ResolvedQuery,
        *,
        orders: str,
    ) -> RankedList:
        """Score all candidates, then keep some: a filter never changes another item's score.

        Where the ranker fails, or it is too late for it, the list is in retrieval order.

        Args:
            gathered: The candidates.
            keep: Which of them may be shown.
            asked: The query.
            orders: What of the ranker's, see ``recsys.bundle.Bundle.ranker``.
        """
        ranker = self._bundle.ranker(orders)
        scores = self._scores(gathered, ranker, asked.query.rank_until)
        if scores is None:
            return self.in_retrieval_order(gathered, keep, asked, ServiceLevel.NO_RANKER, NO_RANKER)
        if orders == "shown":
            arranged = Arrangement(gathered.candidates.positions, best_first(scores, keep))
        else:
            arranged = _arranged(gathered, _ordering(gathered, scores, asked), keep, asked)
        rows = arranged.rows[: asked.query.limit]
        explain = asked.query.explain and len(rows) > 0
        reasons = [] if len(gathered.moment.user.positions) else ["unknown_user"]
        if gathered.moment.sought is not None and gathered.moment.sought.vector is None:
            reasons.append("query_by_words_only")
        return self._written(
            gathered,
            scores,
            arranged,
            asked,
            level=ServiceLevel.FULL,
            reasons=reasons,
            explanations=explained(ranker, gathered.matrix[rows]) if explain else (),
        )

    def in_retrieval_order(
        self,
        gathered: Gathered,
        keep: Bool[np.ndarray, " candidates"],
        asked: ResolvedQuery,
        level: ServiceLevel,
        *reasons: str,
    ) -> RankedList:
        """The candidates in the order in which the sources found them.

        Args:
            gathered: The candidates.
            keep: Which of them may be shown.
            asked: The query.
            level: What the list is called.
            reasons: Degraded reasons.
        """
        scores = gathered.candidates.score
        arranged = _arranged(gathered, scores, keep, asked)
        return self._written(gathered, scores, arranged, asked, level=level, reasons=reasons)

    def _scores(
        self, gathered: Gathered, ranker: Ranker, rank_until: float
    ) -> Float64[np.ndarray, " candidates"] | None:
        """The ranker's scores; ``None`` when it is too late for them, or they cannot be had."""
        if time.perf_counter() > rank_until:
            return None
        try:
            matrix = gathered.matrix
            scores = ranker.scores(matrix) if len(matrix) else np.empty(0)
            if not np.isfinite(scores).all():
                raise ValueError("a score is not finite")
        except Exception:  # noqa: BLE001  # whatever is wrong with it, there is an answer without
            if not self._ranker_failed:
                version = self._bundle.manifest.version
                _log.exception("the ranker fails, so answers go without it", version=version)
            self._ranker_failed = True
            return None
        self._ranker_failed = False
        return scores

    def _written(
        self,
        gathered: Gathered,
        scores: Float64[np.ndarray, " candidates"],
        arranged: Arrangement,
        asked: ResolvedQuery,
        *,
        level: ServiceLevel,
        reasons: Sequence[str],
        explanations: Sequence[Explanation] = (),
    ) -> RankedList:
        query = asked.query
        further = arranged.cut(query.limit)[: max(query.depth - query.limit, 0)]
        item_ids, candidates = gathered.moment.parts.catalogue.item_ids, gathered.candidates
        listing = Listing(item_ids, candidates, scores)
        return RankedList(
            items=listing.items(arranged, explanations, gathered.features.words),
            service_level=level,
            model_version=self._bundle.manifest.version,
            degraded_reasons=tuple(reasons),
            missing_item_ids=asked.missing,
            num_candidates=len(candidates.positions),
            rest=listing.rest(further, arranged.propensity),
            policy=arranged.policy,
        )


def _ordering(
    gathered: Gathered, scores: Float64[np.ndarray, " candidates"], asked: ResolvedQuery
) -> Float64[np.ndarray, " candidates"]:
    """What a list is ordered by: the ranker's scores, or these together with what was asked for.

    A query's relevance comes first wherever there is a query, then the ranker; without one, a placement
    in order of relevance fuses its sources' order with the ranker's.
    """
    candidates, sought = gathered.candidates, gathered.moment.sought
    if sought is not None:
        return by_relevance(sought.relevance(candidates.positions), scores)
    if asked.placement.order == "relevance":
        return fused(candidates.score, scores)
    return scores


def _arranged(
    gathered: Gathered,
    scores: Float64[np.ndarray, " candidates"],
    keep: Bool[np.ndarray, " candidates"],
    asked: ResolvedQuery,
) -> Arrangement:
    """The list by score, and then by everything that reorders a list after it was scored."""
    positions, moment = gathered.candidates.positions, gathered.moment
    listed = Arrangement(positions, best_first(scores, keep))
    if rearranges(asked.placement, asked.rules):
        shown = np.logical_and.reduce(list(can_be_shown(positions, moment, asked).values()))
        arrange(
            listed, moment, asked.query, asked.placement, active=asked.rules, may_pin=shown, scores=scores
        )
    return listed
