"""Takes changes of the catalogue in: checks each item as ingest does, and makes the good ones durable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from recsys.columns import REASON
from recsys.item_changes import ItemChanges, changed_rows
from recsys.readers import REJECT_SCHEMA, Source
from recsys.schema import CREATED_TIME, ITEM_ID, ITEM_SCHEMA
from recsys.validation import judge_items

_RECEIVED_SCHEMA = pl.Schema({**ITEM_SCHEMA, CREATED_TIME: pl.Int64()})


class KnownItems(Protocol):
    """Catalogue rows of the model that serves."""

    def items(self, item_ids: Sequence[str]) -> list[dict[str, object]]:
        """Rows of known items."""
        ...


@dataclass(frozen=True)
class ItemOutcome:
    """What became of one item."""

    item_id: str
    reason: str
    """Why it was rejected; empty when it was taken."""


@dataclass(frozen=True)
class FoundItems:
    """Items by id, and the ids that there are no items of."""

    rows: list[Mapping[str, Any]]
    missing: tuple[str, ...]


class ItemIntake:
    """Adds, deletes and finds items; any thread may call any method."""

    def __init__(self, changes: ItemChanges) -> None:
        self._changes = changes

    def upsert(self, received: Sequence[Mapping[str, object]]) -> list[ItemOutcome]:
        """Add or replace items; those that were taken are on disk when this returns.

        Args:
            received: Values by the names of ``ITEM_SCHEMA``, unchecked, times in milliseconds since 1970.

        Returns:
            One outcome per item, in order.

        Raises:
            CatalogueError: Nothing could be made durable.
        """
        rows = pl.DataFrame(received, schema=_RECEIVED_SCHEMA)
        judged = judge_items(Source(rows, pl.DataFrame(schema=REJECT_SCHEMA)))
        good = judged.filter(pl.col(REASON).is_null()).select(ITEM_SCHEMA.names())
        if not good.is_empty():
            self._changes.put(good)
        return [
            ItemOutcome(str(item[ITEM_ID]), reason or "")
            for item, reason in zip(received, judged[REASON], strict=True)
        ]

    def delete(self, item_ids: Sequence[str], known: KnownItems) -> tuple[str, ...]:
        """Take items out; the ids that were not there.

        Raises:
            CatalogueError: Nothing could be made durable.
        """
        missing = self.find(item_ids, known).missing
        self._changes.delete(item_ids)
        return missing

    def find(self, item_ids: Sequence[str], known: KnownItems) -> FoundItems:
        """Items as they are, each once and in the order given, also those that no model knows yet.

        Raises:
            CatalogueError: The changes cannot be read.
        """
        wanted = list(dict.fromkeys(item_ids))
        changed = self._changes.of(wanted)
        unchanged = known.items([item_id for item_id in wanted if item_id not in changed])
        rows = {
            str(row[ITEM_ID]): row for row in [*unchanged, *changed_rows(list(changed.values())).to_dicts()]
        }
        return FoundItems(
            [rows[item_id] for item_id in wanted if item_id in rows],
            tuple(item_id for item_id in wanted if item_id not in rows),
        )
