"""What a server asks of a model: lists and items, rules and changes to apply, events to count."""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import numpy as np
from jaxtyping import Bool

from recsys.answer import Query, RankedList
from recsys.config import Config
from recsys.item_changes import ItemChange
from recsys.live_parts import TextVectors
from recsys.rules import Rule


class RankingPipeline(Protocol):
    """Turns queries into ranked lists. Any thread may call any method."""

    version: str
    """Version of the model."""
    config: Config
    """The configuration that the model was trained with."""

    def recommend(self, query: Query) -> RankedList:
        """Rank the catalogue."""
        ...

    def rank(self, query: Query, item_ids: Sequence[str]) -> RankedList:
        """Order all known items of a list; the others are in ``missing_item_ids``."""
        ...

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Apply these business rules instead of those so far."""
        ...

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        """Catalogue rows, with the names of ``recsys.schema.ITEM_SCHEMA``, of those ids that are known."""
        ...

    def knows_item(self, item_id: str) -> bool:
        """Whether the catalogue holds an item."""
        ...

    def sellable(self, item_ids: Sequence[str]) -> Bool[np.ndarray, " items"]:
        """Whether each item is in the catalogue and available."""
        ...

    def record(self, item_id: str, event_type: int, time_ms: int) -> None:
        """Count an event in the item's aggregates, from the next tick on; unknown items are ignored."""
        ...

    changed_through: int
    """Sequence number of the last change of the catalogue that is in it, and all below it."""
    withdrawn_through: int
    """The same of those changes that take something out."""

    def withdraw(self, changes: Sequence[ItemChange]) -> None:
        """Stop offering, at once, what all changes after ``withdrawn_through`` took out."""
        ...

    def unread_texts(self, changes: Sequence[ItemChange]) -> list[str]:
        """Texts of changed items that it has no vectors of."""
        ...

    def with_changes(self, changes: Sequence[ItemChange], vectors: Mapping[str, TextVectors]) -> Self:
        """Another pipeline in which changes are applied; what is recorded here later counts there too."""
        ...
