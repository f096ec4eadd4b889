"""The services of ``proto/recsys/v1``: decode, ask the domain, encode, and nothing else."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Protocol, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from recsys.v1 import event_service_pb2 as event_pb
from recsys.v1 import recommendation_service_pb2 as recommendation_pb
from recsys.v1.types_pb2 import View
from serving.blurb_ask import BlurbAsk, blurb_ask, blurb_violations
from serving.blurb_desk import BlurbDesk
from serving.call import note_arms, note_outcomes, stage
from serving.engine import Engine
from serving.intake import Intake
from serving.late_blurbs import LateBlurbs
from serving.question import Question
from serving.requests import (
    DEFAULT_PLACEMENT,
    parse,
    raise_violations,
    rank_question,
    received_events,
    recommend_question,
    wait_seconds,
)
from serving.responses import late_response, rank_response, recommend_response, record_events_response
from serving.treatments import Chosen, Treatments

_Request = recommendation_pb.RecommendRequest | recommendation_pb.RankRequest


class CallContext(Protocol):
    """The part of a gRPC context that the servicers read."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up, ``None`` when it never does."""
        ...


class RecommendationServicer:
    """``recsys.v1.RecommendationService``."""

    descriptor = recommendation_pb.DESCRIPTOR.services_by_name["RecommendationService"]

    def __init__(self, engine: Engine, treatments: Treatments, desk: BlurbDesk, late: LateBlurbs) -> None:
        self._engine = engine
        self._treatments = treatments
        self._desk, self._late = desk, late

    async def Recommend(  # noqa: N802  # the method's name on the wire
        self, request: recommendation_pb.RecommendRequest, context: CallContext
    ) -> recommendation_pb.RecommendResponse:
        """Recommend items of the whole catalogue."""
        chosen, question = await self._asked(request)
        if request.validate_only:
            return recommendation_pb.RecommendResponse(model_version=chosen.pipeline.version)
        note_arms(chosen.treatment.arms)
        answer = await self._engine.recommend(question, chosen.pipeline, context.time_remaining())
        with stage("encode"):
            return recommend_response(answer)

    async def StreamRecommend(  # noqa: N802  # the method's name on the wire
        self, request: recommendation_pb.StreamRecommendRequest, context: CallContext
    ) -> AsyncIterator[recommendation_pb.StreamRecommendResponse]:
        """Recommend, and send late blurbs after the list."""
        seconds = wait_seconds(request.wait_ms)
        chosen, question = await self._asked(request.request)
        pipeline = chosen.pipeline
        if request.request.validate_only:
            empty = recommendation_pb.RecommendResponse(model_version=pipeline.version)
            yield recommendation_pb.StreamRecommendResponse(list=empty)
            return
        note_arms(chosen.treatment.arms)
        answer = await self._engine.recommend(question, pipeline, context.time_remaining())
        yield recommendation_pb.StreamRecommendResponse(list=recommend_response(answer))
        async for late in self._late.after(answer.blurbs, question.blurbs, pipeline, seconds):
            yield late_response(late)

    async def _asked(self, request: recommendation_pb.RecommendRequest) -> tuple[Chosen, Question]:
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
        if chosen.drafted is not None:
            question = replace(question, drafted=chosen.drafted, list_id=chosen.drafted.list_id)
        if request.blurbs.enabled:
            question = replace(question, blurbs=self._blurbs(request, chosen))
        return chosen, question

    def _blurbs(self, request: _Request, chosen: Chosen) -> BlurbAsk | None:
        """Which blurbs a request asks for.

        Raises:
            InvalidRequestError: Its options break a rule.
        """
        raise_violations(list(blurb_violations(request.blurbs, self._desk.config, "blurbs")))
        with_facts = request.explain or request.view == View.VIEW_FULL
        return blurb_ask(request.blurbs, self._desk.config, chosen.treatment, with_facts=with_facts)

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
        if request.blurbs.enabled:
            question = replace(question, blurbs=self._blurbs(request, chosen))
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
    """A service that ``service_handler`` can register: one coroutine method per method of the descriptor.

    A method that answers with a stream is an asynchronous generator.
    """

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
            cast("Any", stream),  # the stubs know blocking behaviours only
            request_deserializer=None,
            response_serializer=serializer,
        )

    async def answer(raw: bytes, context: CallContext) -> Message:
        found: Message = await call(raw, context)
        return found

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=None, response_serializer=serializer
    )
