"""A thin client: typed calls over one channel, with deadlines and retries."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc

from recsys.v1 import event_service_pb2 as event_pb
from recsys.v1 import recommendation_service_pb2 as recommendation_pb
from recsys.v1.event_service_pb2_grpc import EventServiceStub
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

# Reads are repeated when no server answered. RecordEvents is not: only a caller that sets event ids and times
# can know that a repetition counts once.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "recsys.v1.RecommendationService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_RECONNECT_MS = 50


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
        options = (
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            # a worker that died took its connections along, and the others take new ones at once
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS),
        )
        self._channel = grpc.insecure_channel(address, options=options)
        self._timeout_seconds = timeout_seconds
        self._recommendations = RecommendationServiceStub(self._channel)
        self._events = EventServiceStub(self._channel)

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
