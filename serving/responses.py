"""From the domain to messages: encodes answers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from recsys.answer import Explanation, RankedItem
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
from serving.engine import Answer
from serving.intake import EventOutcome


def recommend_response(answer: Answer) -> recommendation_pb.RecommendResponse:
    """Encode an answer to ``Recommend``."""
    ranked = answer.ranked
    return recommendation_pb.RecommendResponse(
        results=_results(answer),
        next_page_token=answer.next_page_token,
        attribution_token=answer.attribution_token,
        model_version=ranked.model_version,
        service_level=types_pb.ServiceLevel.Value(f"SERVICE_LEVEL_{ranked.service_level.value}"),
        degraded_reasons=ranked.degraded_reasons,
        missing_item_ids=ranked.missing_item_ids,
        assignments=_assignments(answer),
    )


def rank_response(answer: Answer) -> recommendation_pb.RankResponse:
    """Encode an answer to ``Rank``."""
    ranked = answer.ranked
    return recommendation_pb.RankResponse(
        results=_results(answer),
        attribution_token=answer.attribution_token,
        model_version=ranked.model_version,
        service_level=types_pb.ServiceLevel.Value(f"SERVICE_LEVEL_{ranked.service_level.value}"),
        degraded_reasons=ranked.degraded_reasons,
        missing_item_ids=ranked.missing_item_ids,
        assignments=_assignments(answer),
    )


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


def _results(answer: Answer) -> list[types_pb.Result]:
    return [_result(item, answer.items.get(item.item_id)) for item in answer.ranked.items]


def _assignments(answer: Answer) -> list[types_pb.Assignment]:
    return [types_pb.Assignment(experiment=experiment, arm=arm) for experiment, arm in answer.arms]


def _result(item: RankedItem, row: Mapping[str, Any] | None) -> types_pb.Result:
    return types_pb.Result(
        item_id=item.item_id,
        score=item.score,
        sources=item.sources,
        item=None if row is None else item_message(row),
        reasons=item.reasons,
        explanation=None if item.explanation is None else _explanation(item.explanation),
        rule_steps=[
            types_pb.RuleStep(rule=step.rule, from_position=step.from_position, to_position=step.to_position)
            for step in item.rule_steps
        ],
    )


def _explanation(explanation: Explanation) -> types_pb.Explanation:
    parts = explanation.contributions
    return types_pb.Explanation(
        base_value=explanation.base_value,
        contributions=[
            types_pb.Contribution(feature=feature, value=value, contribution=contribution)
            for feature, value, contribution in zip(
                parts.features, parts.values, parts.contributions, strict=True
            )
        ],
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
