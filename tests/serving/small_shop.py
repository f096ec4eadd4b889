"""A shop of five items and a pipeline whose answers can be told by heart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

import numpy as np
from jaxtyping import Bool

from recsys.answer import (
    Contributions,
    Explanation,
    Query,
    RankedItem,
    RankedList,
    Remainder,
    RuleStep,
    ServiceLevel,
)
from recsys.config import Config, PlacementConfig
from recsys.item_changes import ItemChange
from recsys.live_parts import TextVectors
from recsys.rules import Rule
from serving.event import Event

ITEM_IDS = ("apples", "bread", "cheese", "dates", "eggs")
VERSION = "small-1"
_STEPS = (RuleStep("pin", None, 2), RuleStep("boost", 0, 1))
NOON = 1_512_000_000_000
"""A time in milliseconds, some day in November 2017."""


@dataclass
class SmallPipeline:
    """Orders items by the user's decayed sums; the others follow in alphabetical order."""

    version: str = VERSION
    config: Config = field(
        default_factory=lambda: Config(
            placements={
                "home": PlacementConfig(sources=("own",)),
                "similar_items": PlacementConfig(sources=("similar_text",), starts_from="context"),
                "buy_it_again": PlacementConfig(sources=("own",), bought="only_purchased"),
            }
        )
    )
    queries: list[Query] = field(default_factory=list)
    recorded: list[tuple[str, int, int]] = field(default_factory=list)
    failure: Exception | None = None
    sold_out: set[str] = field(default_factory=set)
    rules: tuple[Rule, ...] = ()
    changed_through: int = 0
    withdrawn_through: int = 0

    def recommend(self, query: Query) -> RankedList:
        ids = [item_id for item_id in ITEM_IDS if item_id not in query.exclude_item_ids]
        return self._ranked(query, ids, query.limit)

    def use_rules(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)

    def rank(self, query: Query, item_ids: Sequence[str]) -> RankedList:
        return self._ranked(query, [i for i in item_ids if i in ITEM_IDS], len(item_ids), tuple(item_ids))

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        created = datetime(2017, 11, 1, tzinfo=UTC)
        return [
            {
                "item_id": item_id,
                "title": item_id.title(),
                "description": None,
                "tags": ["food"],
                "category": ["Shop", "Food"],
                "brand": "Farm",
                "price": 1.5,
                "currency": "USD",
                "language": "en",
                "available": True,
                "created_time": created,
                "attributes": [{"key": "size", "value": "1 kg"}],
            }
            for item_id in item_ids
        ]

    def knows_item(self, item_id: str) -> bool:
        return item_id in ITEM_IDS

    def sellable(self, item_ids: Sequence[str]) -> Bool[np.ndarray, " items"]:
        return np.asarray([i in ITEM_IDS and i not in self.sold_out for i in item_ids], bool)

    def record(self, item_id: str, event_type: int, time_ms: int) -> None:
        self.recorded.append((item_id, event_type, time_ms))

    def withdraw(self, changes: Sequence[ItemChange]) -> None:
        self.withdrawn_through = max([self.withdrawn_through, *(change.sequence for change in changes)])

    def unread_texts(self, changes: Sequence[ItemChange]) -> list[str]:
        return [text for change in changes for text in (change.item or "",) if text == "unread"]

    def with_changes(self, changes: Sequence[ItemChange], vectors: Mapping[str, TextVectors]) -> Self:
        assert not vectors
        return replace(self, changed_through=changes[-1].sequence)

    def _ranked(
        self, query: Query, item_ids: Sequence[str], limit: int, named: tuple[str, ...] = ()
    ) -> RankedList:
        self.queries.append(query)
        if self.failure is not None:
            raise self.failure
        scores = dict.fromkeys(item_ids, 0.0)
        if query.user is not None:
            for item_id, sums in zip(query.user.item_ids, query.user.decayed(query.as_of_ms), strict=True):
                if item_id in scores:
                    scores[item_id] += float(sums[-1])
        everything = sorted(item_ids, key=lambda item_id: (-scores[item_id], item_id))
        ordered, further = everything[:limit], everything[limit : query.depth]
        full = query.user is not None
        missing = [i for i in (*named, *query.context_item_ids) if i not in ITEM_IDS]
        return RankedList(
            items=tuple(
                RankedItem(
                    item_id=item_id,
                    score=scores[item_id],
                    sources=("own",),
                    reasons=("bought before",) if query.explain and full else (),
                    explanation=_explanation(scores[item_id]) if query.explain and full else None,
                    rule_steps=_STEPS if query.query == "moved" else (),
                )
                for item_id in ordered
            ),
            service_level=ServiceLevel.FULL if full else ServiceLevel.POPULAR,
            model_version=self.version,
            missing_item_ids=tuple(missing),
            num_candidates=len(item_ids),
            rest=_rest(further, scores) if further else None,
        )


def make_event(
    event_id: str = "e1",
    event_type: str = "purchase",
    *,
    user_id: str = "u1",
    item_id: str = "bread",
    time_ms: int = NOON,
) -> Event:
    """One event, received when it happened."""
    return Event(event_id, event_type, user_id, item_id, time_ms, time_ms)


def _rest(item_ids: list[str], scores: Mapping[str, float]) -> Remainder:
    in_order = np.asarray([scores[item_id] for item_id in item_ids])
    return Remainder(item_ids, in_order, np.ones(len(item_ids), np.uint32))


def _explanation(score: float) -> Explanation:
    return Explanation(0.0, Contributions(("own_sum",), [score], [score]))
