"""The pipeline: a query in, a ranked list out. The commands and the server run this same object."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import structlog
from jaxtyping import Bool, Float32, Float64, Int64

from recsys.answer import Explanation, Query, RankedList, ServiceLevel
from recsys.arrangement import Arrangement, arrange, rearranges
from recsys.bought import HAD_BEFORE, allowed
from recsys.bundle import Bundle
from recsys.candidates import (
    QUERY_SOURCES,
    Candidates,
    gather,
    merge,
    popular,
    topped_up,
    whole_catalogue,
)
from recsys.config import Config, PlacementConfig
from recsys.errors import ConfigError, RecsysError
from recsys.explaining import explained
from recsys.item_changes import ItemChange
from recsys.item_state import ItemState
from recsys.list_order import best_first, by_relevance, fused
from recsys.listing import Listing
from recsys.live_parts import TextVectors, unread_texts, with_changes
from recsys.moment import Moment, Places
from recsys.passing import MOST_ASKED, joined, of_passing
from recsys.ranker import Ranker
from recsys.rule_book import ActiveRules, RuleBook
from recsys.rules import Rule
from recsys.search import Sought
from recsys.user_items import user_items
from recsys.user_state import UserState

NO_RANKER = "ranker_unavailable"
"""Degraded reason: the ranker failed, or there was no time left for it."""

_log = structlog.get_logger(__name__)


@runtime_checkable
class FeatureSource(Protocol):
    """Computes the ranker's input; ``features.registry.OnlineFeatures``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names, in column order."""
        ...

    @property
    def words(self) -> Mapping[str, str]:
        """A reason in words by feature name; ``{value}`` in it stands for the feature's value."""
        ...

    def matrix(
        self, moment: Moment, positions: Int64[np.ndarray, " items"]
    ) -> Float32[np.ndarray, "items features"]:
        """Ranker input of many items for one moment."""
        ...


@dataclass(frozen=True, eq=False)
class Gathered:
    """What lists are ordered from: a user's moment, what the sources offer, and the features of that."""

    moment: Moment
    candidates: Candidates
    features: FeatureSource

    @cached_property
    def matrix(self) -> Float32[np.ndarray, "candidates features"]:
        """The ranker's input, computed when it is first read."""
        return self.features.matrix(self.moment, self.candidates.positions)


@dataclass(frozen=True, eq=False)
class Inspection:
    """What stands behind a list: a user's moment, what the sources offer, and what the filters let pass."""

    moment: Moment
    candidates: Candidates
    passes: Mapping[str, Bool[np.ndarray, " candidates"]]
    """By what a filter takes out, whether it lets each candidate pass."""

    @property
    def keep(self) -> Bool[np.ndarray, " candidates"]:
        """Whether each candidate passes every filter."""
        kept: Bool[np.ndarray, " candidates"] = np.logical_and.reduce(list(self.passes.values()))
        return kept


class Pipeline:
    """Answers queries from one bundle and the state that its caller provides; several threads may use it."""

    def __init__(
        self,
        bundle: Bundle,
        item_state: ItemState,
        features: FeatureSource,
        rules: Sequence[Rule] = (),
        *,
        changed_through: int = 0,
    ) -> None:
        """Put the parts together.

        Args:
            bundle: The model, with the catalogue's changes in its parts.
            item_state: The items' popularity.
            features: Computes the ranker's input.
            rules: The shop's business rules.
            changed_through: Sequence number of the last change of the catalogue in it.
        """
        self.bundle = bundle
        self.version = bundle.manifest.version
        self.config: Config = bundle.manifest.config
        self._parts = bundle.parts
        self._items = item_state
        self._features = features
        self.changed_through = self.withdrawn_through = changed_through
        self._ranker_failed = False
        self._nobody = UserState(self.config.state.half_lives_days)
        self._rules = RuleBook(rules, bundle.parts.catalogue)
        item_state.popularity(0)  # reads the catalogue's numbers once, where anything was ever shown

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Apply these rules instead, from the next request on; first find out which items they mean."""
        if list(rules) != [meant.rule for meant in self._rules.meant]:
            self._rules = RuleBook(rules, self._parts.catalogue)

    def recommend(self, query: Query) -> RankedList:
        """The best items for a user at a moment.

        A user nobody knows is ranked too, by what is known of the items; ``degraded_reasons`` says so. Where
        no source finds anything that may be shown, the list is what is popular, in retrieval order.

        Raises:
            ConfigError: The placement is not configured.
            InvalidRequestError: The filter cannot be read.
        """
        gathered = self.gather(query)
        return _with_interest(self.order(gathered, query), gathered.moment, query)

    def gather(self, query: Query) -> Gathered:
        """The first half of ``recommend``, which does not read what the query leaves out or how much it asks.

        Raises:
            ConfigError: The placement is not configured.
        """
        moment, (context, _) = self.moment(query), self._context(query)
        offered = gather(moment, self._sources(query), self.config.candidates, context)
        return Gathered(moment, offered, self._features)

    def _sources(self, query: Query) -> tuple[str, ...]:
        sources: tuple[str, ...] = self._placement(query).sources
        if query.query:
            sources += tuple(name for name in QUERY_SOURCES if name not in sources)
        return sources

    def order(self, gathered: Gathered, query: Query) -> RankedList:
        """The second half of ``recommend``.

        Args:
            gathered: What ``gather`` found for a query with the same user, moment, placement, context and
                words.
            query: The question.

        Raises:
            ConfigError: The placement is not configured.
            InvalidRequestError: The filter cannot be read.
        """
        placement, (context, missing) = self._placement(query), self._context(query)
        gathered = self._with_pins(self._topped_up(gathered, query), query)
        moment, offered = gathered.moment, gathered.candidates
        passes = self._passes(offered, moment, query)
        keep = Inspection(moment, offered, passes).keep & (offered.sources > 0)
        from_nothing = placement.starts_from == "context" and not len(context)
        if keep.any() and not from_nothing:
            if placement.order == "retrieval" and not query.query:
                personal = placement.starts_from == "user"
                level = ServiceLevel.NO_RANKER if personal else ServiceLevel.NO_PERSONAL
                return self._in_retrieval_order(gathered, keep, query, missing, level)
            orders = "new" if HAD_BEFORE in passes else "all"
            return self._ranked(gathered, keep, query, missing, orders=orders, limit=query.limit)
        if placement.bought.startswith("only"):
            return self._in_retrieval_order(
                gathered, keep, query, missing, ServiceLevel.POPULAR, "no_candidates"
            )
        nothing = "no_matches" if placement.starts_from == "query" else "no_candidates"
        return self._popular(gathered, query, missing, "unknown_context" if from_nothing else nothing)

    def popular(self, query: Query, reason: str) -> RankedList:
        """What is popular and may be shown: reads no state, no text and no ranker.

        Args:
            query: The question, of which the user and the words are left aside.
            reason: Why there is no better answer.

        Raises:
            ConfigError: The placement is not configured.
            InvalidRequestError: The filter cannot be read.
        """
        query = replace(query, user=None, query="")
        gathered = Gathered(self.moment(query), merge({}), self._features)
        return self._popular(gathered, query, self._context(query)[1], reason)

    def _popular(self, gathered: Gathered, query: Query, missing: tuple[str, ...], reason: str) -> RankedList:
        context = self._context(query)[0]
        moment = replace(gathered.moment, sought=None)  # what is popular need not be relevant
        keep: Bool[np.ndarray, " candidates"] = np.empty(0, bool)
        for offer in (popular(moment, self.config.candidates, context), whole_catalogue(moment)):
            gathered = self._with_pins(
                replace(gathered, moment=moment, candidates=merge({"popular": offer})), query
            )
            offered = gathered.candidates
            keep = Inspection(moment, offered, self._passes(offered, moment, query)).keep
            keep &= offered.sources > 0
            if keep.sum() >= query.limit:
                break
        return self._in_retrieval_order(gathered, keep, query, missing, ServiceLevel.POPULAR, reason)

    def inspect(self, query: Query) -> Inspection:
        """What ``recommend`` orders, before it is ordered.

        Raises:
            ConfigError: The placement is not configured.
        """
        gathered = self.gather(query)
        moment, offered = gathered.moment, gathered.candidates
        return Inspection(moment, offered, self._passes(offered, moment, query))

    def rank(
        self, query: Query, item_ids: Sequence[str], places: Sequence[int | None] | None = None
    ) -> RankedList:
        """A caller's own items, best first and none cut off; unknown items are reported missing.

        Some features say how an item stands in its list. A ranker that learned from the home page's
        candidates sees the caller's items among those, so that a short list changes no score; one that
        learned from lists that were shown sees them alone. Context items do not change the order; those that
        the catalogue lacks are reported too.

        Args:
            query: Whom to rank for, and when; its ``limit`` is not read.
            item_ids: The items; their order says nothing.
            places: Where the caller would show each of them, 0 the first. A ranker that reads positions then
                orders by how likely an item is to be chosen from its place, so that what stands high tends to
                stay there; without places it orders by the items alone.
        """
        positions = self._parts.catalogue.positions(item_ids)
        missing = tuple(
            item_id for item_id, position in zip(item_ids, positions, strict=True) if position < 0
        )
        missing += self._context(query)[1]
        moment, distinct = self.moment(query), np.unique(positions[positions >= 0])
        if places is not None:
            moment = replace(moment, places=_places(positions, places))
        among = distinct if "shown" in self.bundle.rankers else self._among_candidates(moment, distinct)
        everything = Candidates(among, np.zeros(len(among), np.uint32), _as_given(among, positions))
        gathered, keep = Gathered(moment, everything, self._features), np.isin(among, distinct)
        ranked = self._ranked(gathered, keep, query, missing, orders="shown", limit=len(distinct))
        return _with_interest(ranked, moment, query)

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        """Catalogue rows of known items, in the order given."""
        positions = self._parts.catalogue.positions(item_ids)
        rows: list[dict[str, object]] = self._parts.catalogue.frame[
            positions[positions >= 0].tolist()
        ].to_dicts()
        return rows

    def knows_item(self, item_id: str) -> bool:
        """Whether the catalogue holds an item."""
        return item_id in self._parts.catalogue.position

    def sellable(self, item_ids: Sequence[str]) -> Bool[np.ndarray, " items"]:
        """Whether each item is in the catalogue and available."""
        positions = self._parts.catalogue.positions(item_ids)
        can_be_sold: Bool[np.ndarray, " items"] = positions >= 0
        can_be_sold[can_be_sold] = self._parts.catalogue.available[positions[can_be_sold]]
        return can_be_sold

    def record(self, item_id: str, event_type: int, time_ms: int) -> None:
        """Count an event for the item's popularity, from the next tick on; unknown items are ignored."""
        position = self._parts.catalogue.position.get(item_id)
        if position is not None:
            self._items.record(position, event_type, time_ms)

    def withdraw(self, changes: Sequence[ItemChange]) -> None:
        """Stop offering, at once, what changes took out; what else they say comes with ``with_changes``.

        Args:
            changes: All changes after ``withdrawn_through``, ascending.
        """
        catalogue = self._parts.catalogue
        catalogue.withdraw([change.item_id for change in changes if not change.is_for_sale])
        catalogue.withdraw((), [change.item_id for change in changes if change.item is None])
        self.withdrawn_through = max([self.withdrawn_through, *(change.sequence for change in changes)])

    def unread_texts(self, changes: Sequence[ItemChange]) -> list[str]:
        """Texts of changed items that this pipeline has no vectors of."""
        return unread_texts(self._parts, changes)

    def with_changes(self, changes: Sequence[ItemChange], vectors: Mapping[str, TextVectors]) -> "Pipeline":
        """A pipeline in which the catalogue's changes are applied; this one goes on unchanged.

        What is recorded here from now on counts there too.

        Args:
            changes: All changes after ``changed_through`` up to another one, ascending.
            vectors: At least of ``unread_texts``.
        """
        renewed = with_changes(self._parts, changes, vectors)
        items = self._items.extended(renewed.parts.catalogue, renewed.prior)
        through = max([self.changed_through, *(change.sequence for change in changes)])
        bundle = replace(self.bundle, parts=renewed.parts)
        rules = [meant.rule for meant in self._rules.meant]
        return Pipeline(bundle, items, self._features, rules, changed_through=through)

    def moment(self, query: Query) -> Moment:
        """The query's user at its moment, as candidates and features see it."""
        user = user_items(query.user or self._nobody, self._parts.catalogue, self.config, query.as_of_ms)
        return Moment(
            self._parts,
            query.as_of_ms,
            user,
            self._items.popularity(query.as_of_ms),
            sought=self._sought(query),
        )

    def _sought(self, query: Query) -> Sought | None:
        if not query.query:
            return None
        vector = None
        try:
            if self.bundle.queries is not None:
                vector = self.bundle.queries.vector(query.query)
        except RecsysError as error:
            _log.warning("a query is read by its exact words only", reason=str(error))
        return Sought(query.query, vector, self._parts.catalogue, self._parts.words)

    def _active(self, query: Query) -> ActiveRules:
        return self._rules.active(query.placement, query.attributes, query.as_of_ms)

    def _topped_up(self, gathered: Gathered, query: Query) -> Gathered:
        """What was gathered, with more of what the filter asks for where too little of it was.

        The most popular of it are ranked along, so that a filter which leaves next to nothing fills the page.
        """
        if query.filter and not self._parts.index.reads_all:
            gathered = self._with_nearest(gathered, query)
        if not query.filter or self._placement(query).starts_from == "query":
            return gathered
        moment, offered = gathered.moment, gathered.candidates
        if Inspection(moment, offered, self._passes(offered, moment, query)).keep.sum() >= query.limit:
            return gathered
        best_first = whole_catalogue(moment)
        best_first = best_first[self._parts.catalogue.matching(query.filter)[best_first]]
        everything = Candidates(best_first, np.zeros(len(best_first), np.uint32), np.zeros(len(best_first)))
        keep = Inspection(moment, everything, self._passes(everything, moment, query)).keep
        return replace(gathered, candidates=topped_up(offered, best_first[keep][: query.limit]))

    def _with_nearest(self, gathered: Gathered, query: Query) -> Gathered:
        """What was gathered, with the nearest of what the filter asks for where little of it was."""
        moment, offered, config = gathered.moment, gathered.candidates, self.config.candidates
        matching = self._parts.catalogue.matching(query.filter)
        if np.count_nonzero(matching[offered.positions]) >= config.text:
            return gathered
        passing = whole_catalogue(moment)
        passing = passing[matching[passing]]
        if len(passing) > MOST_ASKED:
            return gathered
        everything = Candidates(passing, np.zeros(len(passing), np.uint32), np.zeros(len(passing)))
        passing = passing[Inspection(moment, everything, self._passes(everything, moment, query)).keep]
        more = of_passing(moment, self._sources(query), config, self._context(query)[0], passing)
        return replace(gathered, candidates=joined(offered, more))

    def _with_pins(self, gathered: Gathered, query: Query) -> Gathered:
        """What was gathered, and pinned items among it, so that they get a score; no source offers them."""
        pins = self._active(query).pins
        if not pins:
            return gathered
        pinned = np.unique([pin.position for pin in pins])
        return replace(gathered, candidates=topped_up(gathered.candidates, pinned, source=None))

    def _among_candidates(
        self, moment: Moment, positions: Int64[np.ndarray, " items"]
    ) -> Int64[np.ndarray, " all_items"]:
        """Items together with what the home page would choose from; ascending."""
        sources = self.config.placements["home"].sources
        offered = gather(moment, sources, self.config.candidates, np.empty(0, np.int64))
        together: Int64[np.ndarray, " all_items"] = np.union1d(positions, offered.positions)
        return together

    def _context(self, query: Query) -> tuple[Int64[np.ndarray, " context"], tuple[str, ...]]:
        positions = self._parts.catalogue.positions(query.context_item_ids)
        missing = tuple(
            i for i, position in zip(query.context_item_ids, positions, strict=True) if position < 0
        )
        return positions[positions >= 0], missing

    def _placement(self, query: Query) -> PlacementConfig:
        placement = query.parameters or self.config.placements.get(query.placement)
        if placement is None:
            known = ", ".join(sorted(self.config.placements))
            raise ConfigError(f"there is no placement {query.placement!r}; configured are: {known}")
        return placement

    def _passes(
        self, candidates: Candidates, moment: Moment, query: Query, *, hard_only: bool = False
    ) -> dict[str, Bool[np.ndarray, " candidates"]]:
        """Whether each candidate can be sold, is not excluded and, if asked, matches and suits the placement.

        What the user had before is left aside with ``hard_only``: pins are put where they are all the same.
        """
        excluded = self._parts.catalogue.positions([*query.exclude_item_ids, *query.context_item_ids])
        passes = {
            "unavailable": self._parts.catalogue.available[candidates.positions],
            "excluded": ~np.isin(candidates.positions, excluded),
        }
        if query.filter:
            passes["filtered"] = self._parts.catalogue.matching(query.filter)[candidates.positions]
        by_rule = self._active(query).excluded
        if by_rule is not None:
            passes["excluded_by_rule"] = ~by_rule[candidates.positions]
        if hard_only:
            return passes
        if moment.sought is not None and self._placement(query).starts_from == "query":
            passes["irrelevant"] = moment.sought.relevance(candidates.positions) > 0
        policy = "leave_out_touched" if query.novel else self._placement(query).bought
        return passes | allowed(policy, candidates.positions, moment, query.user)

    def _ranked(
        self,
        gathered: Gathered,
        keep: Bool[np.ndarray, " candidates"],
        query: Query,
        missing: tuple[str, ...],
        *,
        orders: str,
        limit: int,
    ) -> RankedList:
        """Score the whole list, then keep: a filter never changes another item's score."""
        ranker = self.bundle.ranker(orders)
        scores = self._scores(gathered, ranker, query)
        if scores is None:
            level = ServiceLevel.NO_RANKER
            return self._in_retrieval_order(
                gathered, keep, replace(query, limit=limit), missing, level, NO_RANKER
            )
        ordered = scores if orders == "shown" else self._ordering(gathered, scores, query)
        arranged = self._arranged(gathered, ordered, keep, query, as_it_is=orders == "shown")
        further = arranged.cut(limit)[: max(query.depth - limit, 0)]
        explain = query.explain and len(arranged.rows) > 0
        explanations = explained(ranker, gathered.matrix[arranged.rows]) if explain else []
        reasons = [] if len(gathered.moment.user.positions) else ["unknown_user"]
        if gathered.moment.sought is not None and gathered.moment.sought.vector is None:
            reasons.append("query_by_words_only")
        listing = Listing(self._parts.catalogue.item_ids, gathered.candidates, scores)
        return self._list(
            listing,
            arranged,
            further,
            missing=missing,
            level=ServiceLevel.FULL,
            reasons=reasons,
            explanations=explanations,
        )

    def _scores(
        self, gathered: Gathered, ranker: Ranker, query: Query
    ) -> Float64[np.ndarray, " candidates"] | None:
        """The ranker's scores; ``None`` when it is too late for them, or they cannot be had."""
        if time.perf_counter() > query.rank_until:
            return None
        try:
            matrix = gathered.matrix
            scores = ranker.scores(matrix) if len(matrix) else np.empty(0)
            if not np.isfinite(scores).all():
                raise ValueError("a score is not finite")
        except Exception:  # noqa: BLE001  # whatever is wrong with it, there is an answer without
            if not self._ranker_failed:
                _log.exception("the ranker fails, so answers go without it", version=self.version)
            self._ranker_failed = True
            return None
        self._ranker_failed = False
        return scores

    def _in_retrieval_order(
        self,
        gathered: Gathered,
        keep: Bool[np.ndarray, " candidates"],
        query: Query,
        missing: tuple[str, ...],
        level: ServiceLevel,
        *reasons: str,
    ) -> RankedList:
        candidates = gathered.candidates
        arranged = self._arranged(gathered, candidates.score, keep, query)
        further = arranged.cut(query.limit)[: max(query.depth - query.limit, 0)]
        listing = Listing(self._parts.catalogue.item_ids, candidates, candidates.score)
        return self._list(listing, arranged, further, missing=missing, level=level, reasons=reasons)

    def _list(
        self,
        listing: Listing,
        arranged: Arrangement,
        further: Int64[np.ndarray, " rest"],
        *,
        missing: tuple[str, ...],
        level: ServiceLevel,
        reasons: Sequence[str],
        explanations: Sequence[Explanation] = (),
    ) -> RankedList:
        return RankedList(
            items=listing.items(arranged, explanations, self._features.words),
            service_level=level,
            model_version=self.version,
            degraded_reasons=tuple(reasons),
            missing_item_ids=missing,
            num_candidates=len(listing.candidates.positions),
            rest=listing.rest(further, arranged.propensity),
            policy=arranged.policy,
        )

    def _ordering(
        self, gathered: Gathered, scores: Float64[np.ndarray, " candidates"], query: Query
    ) -> Float64[np.ndarray, " candidates"]:
        """What a list is ordered by: the ranker's scores, or these together with what was asked for.

        A query's relevance comes first wherever there is a query, then the ranker; without one, a placement
        in order of relevance fuses its sources' order with the ranker's.
        """
        candidates, sought = gathered.candidates, gathered.moment.sought
        if sought is not None:
            return by_relevance(sought.relevance(candidates.positions), scores)
        if self._placement(query).order == "relevance":
            return fused(candidates.score, scores)
        return scores

    def _arranged(
        self,
        gathered: Gathered,
        scores: Float64[np.ndarray, " candidates"],
        keep: Bool[np.ndarray, " candidates"],
        query: Query,
        *,
        as_it_is: bool = False,
    ) -> Arrangement:
        """The list by score, and then by everything that reorders a list after it was scored."""
        candidates, moment = gathered.candidates, gathered.moment
        placement, active = self._placement(query), self._active(query)
        if as_it_is or not rearranges(placement, active):
            return Arrangement(candidates.positions, best_first(scores, keep))
        hard = Inspection(moment, candidates, self._passes(candidates, moment, query, hard_only=True)).keep
        listed = Arrangement(candidates.positions, best_first(scores, keep))
        arrange(listed, moment, query, placement, active=active, may_pin=hard, scores=scores)
        return listed


def _as_given(
    among: Int64[np.ndarray, " all_items"], positions: Int64[np.ndarray, " items"]
) -> Float64[np.ndarray, " all_items"]:
    """Scores that keep a caller's own order."""
    scores = np.zeros(len(among))
    known = np.flatnonzero(positions >= 0)[::-1]  # the first of several places comes last, and stays
    scores[np.searchsorted(among, positions[known])] = -known.astype(np.float64)
    return scores


def _with_interest(ranked: RankedList, moment: Moment, query: Query) -> RankedList:
    if not query.with_interest or not len(moment.user.recent.positions):
        return ranked
    return replace(ranked, interest=moment.user_vector)


def _places(positions: Int64[np.ndarray, " items"], places: Sequence[int | None]) -> Places:
    """The first place of every known item."""
    given = np.asarray([np.nan if place is None else place for place in places], np.float64)
    order = np.lexsort((given, positions))
    order = order[positions[order] >= 0]
    distinct, first = np.unique(positions[order], return_index=True)
    return Places(distinct, given[order][first])
