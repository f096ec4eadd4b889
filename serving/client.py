"""A thin client: typed calls over one channel, with deadlines and retries."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc

from recsys.v1 import catalog_service_pb2 as catalog_pb
from recsys.v1 import event_service_pb2 as event_pb
from recsys.v1 import recommendation_service_pb2 as recommendation_pb
from recsys.v1.catalog_service_pb2_grpc import CatalogServiceStub
from recsys.v1.event_service_pb2_grpc import EventServiceStub
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from recsys.v1.types_pb2 import Item

# Reads are repeated when no server answered. RecordEvents is not: only a caller that sets event ids and times
# can know that a repetition counts once.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "recsys.v1.RecommendationService"}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class Client:
    """Calls one server. Any thread may use it; close it, or use it as a context manager.

    Every call raises ``grpc.RpcError`` when the server refuses or does not answer in time.
    """

    def __init__(self, address: str, *, timeout_seconds: float = 1.0) -> None:
        """Connect on the first call.

        Args:
            address: ``host:port``.
            timeout_seconds: Deadline of every call.
        """
        options = (("grpc.service_config", json.dumps(_SERVICE_CONFIG)),)
        self._channel = grpc.insecure_channel(address, options=options)
        self._timeout_seconds = timeout_seconds
        self._recommendations = RecommendationServiceStub(self._channel)
        self._events = EventServiceStub(self._channel)
        self._catalog = CatalogServiceStub(self._channel)

    def recommend(self, request: recommendation_pb.RecommendRequest) -> recommendation_pb.RecommendResponse:
        """Recommend items of the whole catalogue."""
        return self._recommendations.Recommend(request, timeout=self._timeout_seconds)

    def rank(self, request: recommendation_pb.RankRequest) -> recommendation_pb.RankResponse:
        """Order the items that the request names."""
        return self._recommendations.Rank(request, timeout=self._timeout_seconds)

    def record_events(self, events: Sequence[event_pb.Event]) -> list[event_pb.EventResult]:
        """Record events; one result per event, in order."""
        request = event_pb.RecordEventsRequest(events=events)
        return list(self._events.RecordEvents(request, timeout=self._timeout_seconds).results)

    def upsert_items(self, items: Sequence[Item]) -> list[catalog_pb.ItemResult]:
        """Add or replace items; one result per item, in order."""
        request = catalog_pb.UpsertItemsRequest(items=items)
        return list(self._catalog.UpsertItems(request, timeout=self._timeout_seconds).results)

    def delete_items(self, item_ids: Sequence[str]) -> list[str]:
        """Take items out; the ids that were not there."""
        request = catalog_pb.DeleteItemsRequest(item_ids=item_ids)
        return list(self._catalog.DeleteItems(request, timeout=self._timeout_seconds).missing_item_ids)

    def get_items(self, item_ids: Sequence[str]) -> catalog_pb.BatchGetItemsResponse:
        """Items as they are, and the ids of those that there are not."""
        request = catalog_pb.BatchGetItemsRequest(item_ids=item_ids)
        return self._catalog.BatchGetItems(request, timeout=self._timeout_seconds)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
