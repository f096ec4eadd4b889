"""From the domain to messages: encodes answers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from recsys.answer import Explanation
from recsys.blurbs.row import Source
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
from recsys.v1 import event_service_pb2 as event_pb
from recsys.v1 import recommendation_service_pb2 as recommendation_pb
from recsys.v1 import types_pb2 as types_pb
from serving.blurb_list import Freshness, ShownBlurb
from serving.intake import EventOutcome
from serving.question import Answer

DISCLOSURE_KEY = "blurb.ai_generated"
"""Key of the words by which a shop tells that a model wrote a blurb."""

_SOURCES = {source: types_pb.BlurbSource.Value(f"BLURB_SOURCE_{source.value}") for source in Source}
_FRESHNESS = {each: types_pb.BlurbFreshness.Value(f"BLURB_FRESHNESS_{each.value}") for each in Freshness}


def recommend_response(answer: Answer) -> recommendation_pb.RecommendResponse:
    """Encode an answer to ``Recommend``."""
    ranked = answer.ranked
    response = recommendation_pb.RecommendResponse(
        next_page_token=answer.next_page_token,
        attribution_token=answer.attribution_token,
        model_version=ranked.model_version,
        service_level=types_pb.ServiceLevel.Value(f"SERVICE_LEVEL_{ranked.service_level.value}"),
        degraded_reasons=ranked.degraded_reasons,
        missing_item_ids=ranked.missing_item_ids,
        assignments=_assignments(answer),
    )
    _add_results(response, answer)
    return response


def rank_response(answer: Answer) -> recommendation_pb.RankResponse:
    """Encode an answer to ``Rank``."""
    ranked = answer.ranked
    response = recommendation_pb.RankResponse(
        attribution_token=answer.attribution_token,
        model_version=ranked.model_version,
        service_level=types_pb.ServiceLevel.Value(f"SERVICE_LEVEL_{ranked.service_level.value}"),
        degraded_reasons=ranked.degraded_reasons,
        missing_item_ids=ranked.missing_item_ids,
        assignments=_assignments(answer),
    )
    _add_results(response, answer)
    return response


def late_response(late: Mapping[str, ShownBlurb]) -> recommendation_pb.StreamRecommendResponse:
    """Encode blurbs that came after their list, by item."""
    response = recommendation_pb.StreamRecommendResponse()
    for item_id, blurb in late.items():
        set_blurb(response.late_blurbs.blurbs.add(item_id=item_id).blurb, blurb)
    return response


def record_events_response(outcomes: Iterable[EventOutcome]) -> event_pb.RecordEventsResponse:
    """Encode what became of a batch of events."""
    return event_pb.RecordEventsResponse(
        results=[
            event_pb.EventResult(
                event_id=outcome.event_id,
                status=event_pb.EventStatus.Value(f"EVENT_STATUS_{outcome.status.value}"),
                reason=outcome.reason,
            )
            for outcome in outcomes
        ]
    )


def item_message(row: Mapping[str, Any]) -> types_pb.Item:
    """Encode a catalogue row, whose names are those of ``recsys.schema.ITEM_SCHEMA``."""
    return types_pb.Item(
        item_id=row[ITEM_ID],
        title=row[TITLE],
        description=row.get(DESCRIPTION) or "",
        tags=row.get(TAGS) or (),
        category=row.get(CATEGORY) or (),
        brand=row.get(BRAND) or "",
        price=row.get(PRICE),
        currency=row.get(CURRENCY) or "",
        language=row.get(LANGUAGE) or "",
        available=bool(row.get(AVAILABLE, True)),
        created_time=_timestamp(row.get(CREATED_TIME)),
        attributes={pair["key"]: pair["value"] or "" for pair in row.get(ATTRIBUTES) or ()},
    )


def set_blurb(message: types_pb.Blurb, blurb: ShownBlurb) -> None:
    """Encode a blurb in place."""
    message.text = blurb.text
    message.source = _SOURCES[blurb.source]
    message.freshness = _FRESHNESS[blurb.freshness]
    message.language = blurb.language
    message.blurb_id = blurb.blurb_id
    if blurb.ai_generated:
        message.ai_generated = True
        message.disclosure_key = DISCLOSURE_KEY
        message.model, message.prompt_version = blurb.model, blurb.prompt_version
    if blurb.generated_at is not None:
        message.generated_at.seconds, milliseconds = divmod(blurb.generated_at, 1000)
        message.generated_at.nanos = milliseconds * 1_000_000
    if blurb.fact_ids:
        message.fact_ids.extend(blurb.fact_ids)


def _assignments(answer: Answer) -> list[types_pb.Assignment]:
    return [types_pb.Assignment(experiment=experiment, arm=arm) for experiment, arm in answer.arms]


def _add_results(
    response: recommendation_pb.RecommendResponse | recommendation_pb.RankResponse, answer: Answer
) -> None:
    """Encode the items in place: a message that is made apart and copied in takes three times as long."""
    blurbs = answer.blurbs.shown
    for item in answer.ranked.items:
        result = response.results.add(item_id=item.item_id, score=item.score, sources=item.sources)
        if item.reasons:
            result.reasons.extend(item.reasons)
        if item.explanation is not None:
            _add_explanation(result.explanation, item.explanation)
        for step in item.rule_steps:
            result.rule_steps.add(
                rule=step.rule, from_position=step.from_position, to_position=step.to_position
            )
        if item.item_id in answer.items:
            result.item.CopyFrom(item_message(answer.items[item.item_id]))
        if item.item_id in blurbs:
            set_blurb(result.blurb, blurbs[item.item_id])


def _add_explanation(message: types_pb.Explanation, explanation: Explanation) -> None:
    parts, add = explanation.contributions, message.contributions.add
    message.base_value = explanation.base_value
    for feature, value, contribution in zip(parts.features, parts.values, parts.contributions, strict=True):
        add(feature=feature, value=value, contribution=contribution)


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
