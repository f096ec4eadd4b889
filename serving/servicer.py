"""The services of ``proto/recsys/v1``: decode, ask the domain, encode, and nothing else."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from recsys.v1 import event_service_pb2 as event_pb
from recsys.v1 import recommendation_service_pb2 as recommendation_pb
from serving.call import note_arms, note_outcomes, stage
from serving.engine import Engine
from serving.intake import Intake
from serving.requests import DEFAULT_PLACEMENT, parse, rank_question, received_events, recommend_question
from serving.responses import rank_response, recommend_response, record_events_response
from serving.streaming import streaming
from serving.treatments import Treatments


class CallContext(Protocol):
    """The part of a gRPC context that the servicers read."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up, ``None`` when it never does."""
        ...


class RecommendationServicer:
    """``recsys.v1.RecommendationService``."""

    descriptor = recommendation_pb.DESCRIPTOR.services_by_name["RecommendationService"]

    def __init__(self, engine: Engine, treatments: Treatments) -> None:
        self._engine = engine
        self._treatments = treatments

    async def Recommend(  # noqa: N802  # the method's name on the wire
        self, request: recommendation_pb.RecommendRequest, context: CallContext
    ) -> recommendation_pb.RecommendResponse:
        """Recommend items of the whole catalogue."""
        placement = request.placement or DEFAULT_PLACEMENT
        chosen = await self._treatments.choose(
            request.user_id, request.visitor_id, placement, request.attributes
        )
        pipeline = chosen.pipeline
        question = recommend_question(
            request,
            pipeline.config,
            self._engine.lists.signer,
            treatment=chosen.treatment,
            parameters=chosen.parameters,
        )
        if request.validate_only:
            return recommendation_pb.RecommendResponse(model_version=pipeline.version)
        note_arms(chosen.treatment.arms)
        if chosen.drafted is not None:
            question = replace(question, drafted=chosen.drafted, list_id=chosen.drafted.list_id)
        answer = await self._engine.recommend(question, pipeline, context.time_remaining())
        with stage("encode"):
            return recommend_response(answer)

    async def Rank(  # noqa: N802  # the method's name on the wire
        self, request: recommendation_pb.RankRequest, _: CallContext
    ) -> recommendation_pb.RankResponse:
        """Order the caller's own list."""
        placement = request.placement or DEFAULT_PLACEMENT
        chosen = await self._treatments.choose(
            request.user_id, request.visitor_id, placement, {}, ranks_only=True
        )
        pipeline = chosen.pipeline
        question, item_ids = rank_question(request, pipeline.config, treatment=chosen.treatment)
        if request.validate_only:
            return recommendation_pb.RankResponse(model_version=pipeline.version)
        note_arms(chosen.treatment.arms)
        answer = await self._engine.rank(question, item_ids, pipeline)
        with stage("encode"):
            return rank_response(answer)


class EventServicer:
    """``recsys.v1.EventService``."""

    descriptor = event_pb.DESCRIPTOR.services_by_name["EventService"]

    def __init__(self, intake: Intake, max_events: int) -> None:
        self._intake = intake
        self._max_events = max_events

    async def RecordEvents(  # noqa: N802  # the method's name on the wire
        self, request: event_pb.RecordEventsRequest, context: CallContext
    ) -> event_pb.RecordEventsResponse:
        """Record a batch of events."""
        events = received_events(request, self._max_events)
        outcomes = await self._intake.record(events, context.time_remaining())
        note_outcomes(outcome.status.value for outcome in outcomes)
        return record_events_response(outcomes)


class Servicer(Protocol):
    """A service that ``service_handler`` can register: one coroutine method per method of the descriptor."""

    descriptor: ServiceDescriptor


Edge = Callable[[Message], None]
"""Changes a request in place before anything else sees it; see ``serving.edge``."""


def service_handler(servicer: Servicer, edge: Edge | None = None) -> grpc.GenericRpcHandler:
    """Register a servicer's methods so that they get raw bytes and parse them themselves.

    gRPC answers bytes that are no message with UNKNOWN and the parser's words; parsing inside the handler
    makes that an ``InvalidRequestError`` like any other.
    """
    service = servicer.descriptor
    handlers = {
        method.name: _handler(getattr(servicer, method.name), method, edge or _as_it_came)
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _as_it_came(_: Message) -> None:
    return


def _handler(
    behaviour: Callable[[Message, CallContext], Any], method: MethodDescriptor, edge: Edge
) -> "grpc.RpcMethodHandler[bytes, Message]":
    request_type = GetMessageClass(method.input_type)
    serializer = GetMessageClass(method.output_type).SerializeToString

    def call(raw: bytes, context: CallContext) -> Any:  # noqa: ANN401  # an awaitable, or a stream
        request = parse(request_type, raw)
        edge(request)
        return behaviour(request, context)

    if method.server_streaming:

        async def stream(raw: bytes, context: CallContext) -> AsyncIterator[Message]:
            async for message in call(raw, context):
                yield message

        return grpc.unary_stream_rpc_method_handler(
            streaming(stream, method.full_name), request_deserializer=None, response_serializer=serializer
        )

    async def answer(raw: bytes, context: CallContext) -> Message:
        found: Message = await call(raw, context)
        return found

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=None, response_serializer=serializer
    )
