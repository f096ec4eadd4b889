"""``recsys.v1.CatalogService``: decode, ask the domain, encode, and nothing else."""

import asyncio
from collections.abc import Callable, Sequence

from recsys.errors import FieldViolation, InvalidRequestError
from recsys.schema import (
    ATTRIBUTES,
    AVAILABLE,
    BRAND,
    CATEGORY,
    CREATED_TIME,
    CURRENCY,
    DESCRIPTION,
    ITEM_ID,
    LANGUAGE,
    PRICE,
    TAGS,
    TITLE,
)
from recsys.v1 import catalog_service_pb2 as catalog_pb
from recsys.v1 import types_pb2 as types_pb
from serving.item_intake import ItemIntake, KnownItems
from serving.requests import id_list_violations, raise_violations
from serving.responses import item_message
from serving.servicer import CallContext

MAX_ITEMS = 1000
"""Most items of one call."""
_FAR = 2**62
"""A time, in milliseconds, that no calendar has: what lies beyond does not fit where it is checked."""


class CatalogServicer:
    """Serves an intake of items."""

    descriptor = catalog_pb.DESCRIPTOR.services_by_name["CatalogService"]

    def __init__(self, intake: ItemIntake, known: KnownItems, changed: Callable[[], None]) -> None:
        """Serve.

        Args:
            intake: Takes the changes in.
            known: The items of the model that serves.
            changed: Called after every change that was made durable.
        """
        self._intake, self._known, self._changed = intake, known, changed

    async def UpsertItems(  # noqa: N802  # the method's name on the wire
        self, request: catalog_pb.UpsertItemsRequest, _: CallContext
    ) -> catalog_pb.UpsertItemsResponse:
        """Add or replace items."""
        if not 1 <= len(request.items) <= MAX_ITEMS:
            problem = f"expected 1 to {MAX_ITEMS} items, got {len(request.items)}"
            raise InvalidRequestError(FieldViolation("items", problem))
        received = [received_item(item) for item in request.items]
        outcomes = await asyncio.to_thread(self._intake.upsert, received)
        self._changed()
        status = catalog_pb.ItemStatus
        return catalog_pb.UpsertItemsResponse(
            results=[
                catalog_pb.ItemResult(
                    item_id=one.item_id,
                    status=status.ITEM_STATUS_REJECTED if one.reason else status.ITEM_STATUS_ACCEPTED,
                    reason=one.reason,
                )
                for one in outcomes
            ]
        )

    async def DeleteItems(  # noqa: N802  # the method's name on the wire
        self, request: catalog_pb.DeleteItemsRequest, _: CallContext
    ) -> catalog_pb.DeleteItemsResponse:
        """Take items out."""
        _check_ids(request.item_ids)
        missing = await asyncio.to_thread(self._intake.delete, list(request.item_ids), self._known)
        self._changed()
        return catalog_pb.DeleteItemsResponse(missing_item_ids=missing)

    async def BatchGetItems(  # noqa: N802  # the method's name on the wire
        self, request: catalog_pb.BatchGetItemsRequest, _: CallContext
    ) -> catalog_pb.BatchGetItemsResponse:
        """Return items."""
        _check_ids(request.item_ids)
        found = await asyncio.to_thread(self._intake.find, list(request.item_ids), self._known)
        return catalog_pb.BatchGetItemsResponse(
            items=[item_message(row) for row in found.rows], missing_item_ids=found.missing
        )


def received_item(item: types_pb.Item) -> dict[str, object]:
    """An item as it came: values by the names of ``ITEM_SCHEMA``, times in milliseconds since the epoch."""
    time = item.created_time
    return {
        ITEM_ID: item.item_id,
        TITLE: item.title,
        DESCRIPTION: item.description,
        TAGS: list(item.tags) or None,
        CATEGORY: list(item.category) or None,
        BRAND: item.brand,
        PRICE: item.price if item.HasField("price") else None,
        CURRENCY: item.currency,
        LANGUAGE: item.language,
        AVAILABLE: item.available if item.HasField("available") else True,
        CREATED_TIME: max(-_FAR, min(time.seconds * 1000 + time.nanos // 1_000_000, _FAR))
        if item.HasField("created_time")
        else None,
        ATTRIBUTES: [{"key": key, "value": item.attributes[key]} for key in sorted(item.attributes)] or None,
    }


def _check_ids(item_ids: Sequence[str]) -> None:
    if not item_ids:
        raise InvalidRequestError(FieldViolation("item_ids", f"expected 1 to {MAX_ITEMS} ids, got none"))
    raise_violations(list(id_list_violations("item_ids", item_ids, MAX_ITEMS)))
