"""The pipeline: a query in, a ranked list out. The commands and the server run this same object."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import structlog
from jaxtyping import Bool, Float64, Int64

from recsys.admissible import passes
from recsys.answer import Query, RankedList, ServiceLevel
from recsys.bought import HAD_BEFORE
from recsys.bundle import Bundle
from recsys.candidates import Candidates, gather, merge, popular, whole_catalogue
from recsys.config import Config
from recsys.errors import RecsysError
from recsys.gathered import FeatureSource, Gathered, Inspection
from recsys.item_changes import ItemChange
from recsys.item_state import ItemState
from recsys.list_maker import ListMaker
from recsys.live_parts import TextVectors, unread_texts, with_changes
from recsys.moment import Moment, Places
from recsys.resolved_query import ResolvedQuery, resolved
from recsys.rule_book import RuleBook
from recsys.rules import Rule
from recsys.search import Sought
from recsys.topping_up import with_matching, with_pins
from recsys.user_items import user_items
from recsys.user_state import UserState

_log = structlog.get_logger(__name__)


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
        self._lists = ListMaker(bundle)
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
        asked = self._resolved(query)
        gathered = self._gathered(asked)
        return _with_interest(self._ordered(gathered, asked), gathered.moment, query)

    def gather(self, query: Query) -> Gathered:
        """The first half of ``recommend``, which does not read what the query leaves out or how much it asks.

        Raises:
            ConfigError: The placement is not configured.
        """
        return self._gathered(self._resolved(query))

    def _gathered(self, asked: ResolvedQuery) -> Gathered:
        moment = self.moment(asked.query)
        offered = gather(moment, asked.sources, self.config.candidates, asked.context)
        return Gathered(moment, offered, self._features)

    def _resolved(self, query: Query) -> ResolvedQuery:
        return resolved(query, self.config, self._parts.catalogue, self._rules)

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
        return self._ordered(gathered, self._resolved(query))

    def _ordered(self, gathered: Gathered, asked: ResolvedQuery) -> RankedList:
        query, placement = asked.query, asked.placement
        gathered = with_pins(with_matching(gathered, asked, self.config.candidates), asked)
        moment, offered = gathered.moment, gathered.candidates
        passing = passes(offered.positions, moment, asked)
        keep = Inspection(moment, offered, passing).keep & (offered.sources > 0)
        from_nothing = placement.starts_from == "context" and not len(asked.context)
        if keep.any() and not from_nothing:
            if placement.order == "retrieval" and not query.query:
                personal = placement.starts_from == "user"
                level = ServiceLevel.NO_RANKER if personal else ServiceLevel.NO_PERSONAL
                return self._lists.in_retrieval_order(gathered, keep, asked, level)
            orders = "new" if HAD_BEFORE in passing else "all"
            return self._lists.ranked(gathered, keep, asked, orders=orders)
        if placement.bought.startswith("only"):
            level = ServiceLevel.POPULAR
            return self._lists.in_retrieval_order(gathered, keep, asked, level, "no_candidates")
        nothing = "no_matches" if placement.starts_from == "query" else "no_candidates"
        return self._popular(gathered.moment, asked, "unknown_context" if from_nothing else nothing)

    def popular(self, query: Query, reason: str) -> RankedList:
        """What is popular and may be shown: reads no state, no text and no ranker.

        Args:
            query: The question, of which the user and the words are left aside.
            reason: Why there is no better answer.

        Raises:
            ConfigError: The placement is not configured.
            InvalidRequestError: The filter cannot be read.
        """
        asked = self._resolved(replace(query, user=None, query=""))
        return self._popular(self.moment(asked.query), asked, reason)

    def _popular(self, moment: Moment, asked: ResolvedQuery, reason: str) -> RankedList:
        moment = replace(moment, sought=None)  # what is popular need not be relevant
        gathered, keep = Gathered(moment, merge({}), self._features), np.empty(0, np.bool_)
        for offer in (popular(moment, self.config.candidates, asked.context), whole_catalogue(moment)):
            gathered = with_pins(replace(gathered, candidates=merge({"popular": offer})), asked)
            offered = gathered.candidates
            keep = Inspection(moment, offered, passes(offered.positions, moment, asked)).keep
            keep &= offered.sources > 0
            if keep.sum() >= asked.query.limit:
                break
        return self._lists.in_retrieval_order(gathered, keep, asked, ServiceLevel.POPULAR, reason)

    def inspect(self, query: Query) -> Inspection:
        """What ``recommend`` orders, before it is ordered.

        Raises:
            ConfigError: The placement is not configured.
        """
        asked = self._resolved(query)
        gathered = self._gathered(asked)
        moment, offered = gathered.moment, gathered.candidates
        return Inspection(moment, offered, passes(offered.positions, moment, asked))

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
        moment, distinct = self.moment(query), np.unique(positions[positions >= 0])
        if places is not None:
            moment = replace(moment, places=_places(positions, places))
        among = distinct if "shown" in self.bundle.rankers else self._among_candidates(moment, distinct)
        everything = Candidates(among, np.zeros(len(among), np.uint32), _as_given(among, positions))
        gathered, keep = Gathered(moment, everything, self._features), np.isin(among, distinct)
        asked = self._resolved(replace(query, limit=len(distinct)))
        asked = replace(asked, missing=missing + asked.missing)
        ranked = self._lists.ranked(gathered, keep, asked, orders="shown")
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

    def _among_candidates(
        self, moment: Moment, positions: Int64[np.ndarray, " items"]
    ) -> Int64[np.ndarray, " all_items"]:
        """Items together with what the home page would choose from; ascending."""
        sources = self.config.placements["home"].sources
        offered = gather(moment, sources, self.config.candidates, np.empty(0, np.int64))
        together: Int64[np.ndarray, " all_items"] = np.union1d(positions, offered.positions)
        return together


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
