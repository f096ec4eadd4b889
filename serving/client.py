"""Thin clients, one that blocks and one for asyncio: typed calls over one channel, deadlines and retries.

Retries are those of ``service_config.json``, which any gRPC client can read: reads are repeated when no
server answered. Where those end, ``serving.repeats`` goes on: with reads whose answer broke off, and with
events that all have ids, for a repetition of such counts once.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from recsys.v1 import blurb_service_pb2 as blurb_pb
from recsys.v1 import catalog_service_pb2 as catalog_pb
from recsys.v1 import event_service_pb2 as event_pb
from recsys.v1 import recommendation_service_pb2 as recommendation_pb
from recsys.v1.blurb_service_pb2_grpc import BlurbServiceStub
from recsys.v1.catalog_service_pb2_grpc import CatalogServiceStub
from recsys.v1.event_service_pb2_grpc import EventServiceStub
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from recsys.v1.types_pb2 import Item
from serving.repeats import CallOptions, Repeats, named_call, telling_closed

if TYPE_CHECKING:  # the asynchronous stubs are types and no objects
    from recsys.v1.blurb_service_pb2_grpc import BlurbServiceAsyncStub
    from recsys.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub
    from recsys.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceAsyncStub

SERVICE_CONFIG = files("serving").joinpath("service_config.json").read_text(encoding="utf-8")
"""The published gRPC service config, JSON."""
_RECONNECT_MS, _MOST_RECONNECT_MS = 50, 1000
_READ_AGAIN = 2  # each time as often as the service config says, unless the answer had begun
_SEND_AGAIN = 4


@dataclass(frozen=True)
class Connection:
    """How a server is reached; everything that both clients have in common."""

    address: str
    """``host:port``, or ``dns:///name:port`` to spread calls over all addresses of a name."""
    timeout_seconds: float = 1.0
    """Deadline of every call, retries included."""
    token: str | None = field(default=None, repr=False)
    """Bearer token; sent in clear text unless there is TLS."""
    tls_ca: Path | None = None
    """PEM authorities of the server's certificate; none connects without TLS."""
    tls_cert: Path | None = None
    """Own certificate chain, for servers that ask for one."""
    tls_key: Path | None = None
    """Key of ``tls_cert``."""

    def channel(self) -> grpc.Channel:
        """A blocking channel; it connects on the first call."""
        if self.tls_ca is None:
            return grpc.insecure_channel(self.address, options=self._options)
        return grpc.secure_channel(self.address, self._credentials, options=self._options)

    def async_channel(self) -> grpc.aio.Channel:
        """A channel for the running event loop."""
        if self.tls_ca is None:
            return grpc.aio.insecure_channel(self.address, options=self._options)
        return grpc.aio.secure_channel(self.address, self._credentials, options=self._options)

    @property
    def call_options(self) -> CallOptions:
        """What goes along with every call."""
        metadata = () if self.token is None else (("authorization", f"Bearer {self.token}"),)
        return CallOptions(timeout=self.timeout_seconds, metadata=metadata)

    @property
    def _options(self) -> tuple[tuple[str, str | int], ...]:
        return (
            ("grpc.service_config", SERVICE_CONFIG),
            # a worker that died took its connections along, and the others take new ones at once
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS),
            # a server that was away for an hour is taken back within a second, not within two minutes
            ("grpc.max_reconnect_backoff_ms", _MOST_RECONNECT_MS),
        )

    @property
    def _credentials(self) -> grpc.ChannelCredentials:
        ca, key, chain = (
            None if path is None else path.read_bytes() for path in (self.tls_ca, self.tls_key, self.tls_cert)
        )
        return grpc.ssl_channel_credentials(ca, key, chain)


class Client:
    """Calls one server. Any thread may use it; close it, or use it as a context manager.

    Every call raises ``grpc.RpcError`` when the server refuses or does not answer in time, and
    ``serving.repeats.ClientClosedError`` once the client is closed.
    """

    def __init__(self, address: str | Connection, *, timeout_seconds: float = 1.0) -> None:
        """Connect on the first call.

        Args:
            address: ``host:port``, or a ``Connection`` for TLS, a token and the rest.
            timeout_seconds: Deadline of every call; a ``Connection`` has its own.
        """
        connection = _connection(address, timeout_seconds)
        self._options, self._repeats = connection.call_options, Repeats()
        self._channel = connection.channel()
        self._recommendations = RecommendationServiceStub(self._channel)
        self._events = EventServiceStub(self._channel)
        self._catalog = CatalogServiceStub(self._channel)
        self._blurbs = BlurbServiceStub(self._channel)

    def recommend(self, request: recommendation_pb.RecommendRequest) -> recommendation_pb.RecommendResponse:
        """Recommend items of the whole catalogue."""
        return self._repeats.call(self._recommendations.Recommend, request, self._options, _READ_AGAIN)

    def rank(self, request: recommendation_pb.RankRequest) -> recommendation_pb.RankResponse:
        """Order the items that the request names."""
        return self._repeats.call(self._recommendations.Rank, request, self._options, _READ_AGAIN)

    def stream_recommend(
        self, request: recommendation_pb.StreamRecommendRequest
    ) -> Iterator[recommendation_pb.StreamRecommendResponse]:
        """The list, then blurbs that come late; the deadline is that of a call and the wait together."""
        options = named_call(self._options)
        wait = CallOptions(
            timeout=options["timeout"] + (request.wait_ms or 1000) / 1000, metadata=options["metadata"]
        )
        with telling_closed():
            yield from self._recommendations.StreamRecommend(request, **wait)

    def get_blurbs(self, request: blurb_pb.BatchGetBlurbsRequest) -> blurb_pb.BatchGetBlurbsResponse:
        """Blurbs of items, and the ids of those that there are not."""
        return self._repeats.call(self._blurbs.BatchGetBlurbs, request, self._options, _READ_AGAIN)

    def report_blurb(self, request: blurb_pb.ReportBlurbRequest) -> blurb_pb.ReportBlurbResponse:
        """Report a blurb that should not be shown."""
        return self._repeats.call(self._blurbs.ReportBlurb, request, self._options, 0)

    def record_events(self, events: Sequence[event_pb.Event]) -> list[event_pb.EventResult]:
        """Record events; one result per event, in order. With ids, they are sent again if need be."""
        request = event_pb.RecordEventsRequest(events=events)
        call = self._repeats.call
        return list(call(self._events.RecordEvents, request, self._options, _sent_again(events)).results)

    def upsert_items(self, items: Sequence[Item]) -> list[catalog_pb.ItemResult]:
        """Add or replace items; one result per item, in order."""
        request = catalog_pb.UpsertItemsRequest(items=items)
        return list(self._repeats.call(self._catalog.UpsertItems, request, self._options, 0).results)

    def delete_items(self, item_ids: Sequence[str]) -> list[str]:
        """Take items out; the ids that were not there."""
        request = catalog_pb.DeleteItemsRequest(item_ids=item_ids)
        return list(self._repeats.call(self._catalog.DeleteItems, request, self._options, 0).missing_item_ids)

    def get_items(self, item_ids: Sequence[str]) -> catalog_pb.BatchGetItemsResponse:
        """Items as they are, and the ids of those that there are not."""
        request = catalog_pb.BatchGetItemsRequest(item_ids=item_ids)
        return self._repeats.call(self._catalog.BatchGetItems, request, self._options, _READ_AGAIN)

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


class AsyncClient:
    """What ``Client`` is, for one event loop: an asynchronous context manager whose calls are awaited."""

    def __init__(self, address: str | Connection, *, timeout_seconds: float = 1.0) -> None:
        """Connect on the first call; within a running event loop, see ``Client``."""
        connection = _connection(address, timeout_seconds)
        self._options, self._repeats = connection.call_options, Repeats()
        self._channel = connection.async_channel()
        self._recommendations: RecommendationServiceAsyncStub = RecommendationServiceStub(self._channel)
        self._events: EventServiceAsyncStub = EventServiceStub(self._channel)
        self._catalog: CatalogServiceAsyncStub = CatalogServiceStub(self._channel)
        self._blurbs: BlurbServiceAsyncStub = BlurbServiceStub(self._channel)

    async def recommend(
        self, request: recommendation_pb.RecommendRequest
    ) -> recommendation_pb.RecommendResponse:
        """Recommend items of the whole catalogue."""
        return await self._repeats.call_async(
            self._recommendations.Recommend, request, self._options, _READ_AGAIN
        )

    async def rank(self, request: recommendation_pb.RankRequest) -> recommendation_pb.RankResponse:
        """Order the items that the request names."""
        return await self._repeats.call_async(self._recommendations.Rank, request, self._options, _READ_AGAIN)

    async def stream_recommend(
        self, request: recommendation_pb.StreamRecommendRequest
    ) -> AsyncIterator[recommendation_pb.StreamRecommendResponse]:
        """The list, then blurbs that come late; the deadline is that of a call and the wait together."""
        options = named_call(self._options)
        wait = CallOptions(
            timeout=options["timeout"] + (request.wait_ms or 1000) / 1000, metadata=options["metadata"]
        )
        with telling_closed():
            async for message in self._recommendations.StreamRecommend(request, **wait):
                yield message

    async def get_blurbs(self, request: blurb_pb.BatchGetBlurbsRequest) -> blurb_pb.BatchGetBlurbsResponse:
        """Blurbs of items, and the ids of those that there are not."""
        return await self._repeats.call_async(
            self._blurbs.BatchGetBlurbs, request, self._options, _READ_AGAIN
        )

    async def report_blurb(self, request: blurb_pb.ReportBlurbRequest) -> blurb_pb.ReportBlurbResponse:
        """Report a blurb that should not be shown."""
        return await self._repeats.call_async(self._blurbs.ReportBlurb, request, self._options, 0)

    async def record_events(self, events: Sequence[event_pb.Event]) -> list[event_pb.EventResult]:
        """Record events; one result per event, in order. With ids, they are sent again if need be."""
        request = event_pb.RecordEventsRequest(events=events)
        call = self._repeats.call_async
        return list(
            (await call(self._events.RecordEvents, request, self._options, _sent_again(events))).results
        )

    async def upsert_items(self, items: Sequence[Item]) -> list[catalog_pb.ItemResult]:
        """Add or replace items; one result per item, in order."""
        request = catalog_pb.UpsertItemsRequest(items=items)
        call = self._repeats.call_async
        return list((await call(self._catalog.UpsertItems, request, self._options, 0)).results)

    async def delete_items(self, item_ids: Sequence[str]) -> list[str]:
        """Take items out; the ids that were not there."""
        request = catalog_pb.DeleteItemsRequest(item_ids=item_ids)
        call = self._repeats.call_async
        return list((await call(self._catalog.DeleteItems, request, self._options, 0)).missing_item_ids)

    async def get_items(self, item_ids: Sequence[str]) -> catalog_pb.BatchGetItemsResponse:
        """Items as they are, and the ids of those that there are not."""
        request = catalog_pb.BatchGetItemsRequest(item_ids=item_ids)
        return await self._repeats.call_async(
            self._catalog.BatchGetItems, request, self._options, _READ_AGAIN
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _connection(address: str | Connection, timeout_seconds: float) -> Connection:
    return address if isinstance(address, Connection) else Connection(address, timeout_seconds)


def _sent_again(events: Sequence[event_pb.Event]) -> int:
    """Most repetitions of events: none, unless each has an id by which it counts once."""
    return _SEND_AGAIN if all(event.event_id for event in events) else 0
