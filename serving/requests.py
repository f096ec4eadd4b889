"""From messages to the domain: decodes requests and checks every rule that ``proto/recsys/v1`` states."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message

from recsys.config import Config, PlacementConfig
from recsys.errors import FieldViolation, InvalidRequestError
from recsys.experiments.book import UNTREATED, Treatment
from recsys.item_filter import compile_filter
from recsys.schema import MAX_ID_BYTES
from recsys.v1.event_service_pb2 import Event, RecordEventsRequest
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.v1.types_pb2 import View
from serving.event import VISITOR_PREFIX, subject
from serving.intake import ReceivedEvent
from serving.page_token import PageToken, request_identity
from serving.question import Question
from serving.signer import Signer

DEFAULT_PLACEMENT = "home"
DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 200
MAX_CONTEXT_ITEMS = 100
MAX_EXCLUDED_ITEMS = 1000
MAX_RANKED_ITEMS = 1000
MAX_QUERY_CHARS = 500
MAX_ATTRIBUTES = 32
MAX_KEY_BYTES = 64
DEFAULT_WAIT_MS = 1000
MAX_WAIT_MS = 5000

_CHANGES_BETWEEN_PAGES: tuple[
    Literal["page_size", "page_token", "view", "explain", "blurbs", "session_id", "validate_only"], ...
] = ("page_size", "page_token", "view", "explain", "blurbs", "session_id", "validate_only")
_MAX_VIOLATIONS = 8  # of one answer: they travel in its trailers, which clients limit to 8 KiB

_Request: TypeAlias = RecommendRequest | RankRequest
_M = TypeVar("_M", bound=Message)


def parse(message_type: type[_M], raw: bytes) -> _M:
    """Read a message off the wire.

    Raises:
        InvalidRequestError: The bytes are not such a message.
    """
    message = message_type()
    try:
        message.ParseFromString(raw)
    except DecodeError:
        problem = f"expected a {message_type.DESCRIPTOR.full_name}, got {len(raw)} bytes that are none"
        raise InvalidRequestError(FieldViolation("", problem)) from None
    return message


def recommend_question(
    request: RecommendRequest,
    config: Config,
    signer: Signer,
    *,
    treatment: Treatment = UNTREATED,
    parameters: PlacementConfig | None = None,
) -> Question:
    """What a ``RecommendRequest`` asks.

    Args:
        request: The request.
        config: Of the model that answers.
        signer: Knows the page tokens.
        treatment: What experiments make of the request.
        parameters: The placement, where they change it.

    Raises:
        InvalidRequestError: It breaks a rule; all broken rules are named, up to a limit.
    """
    violations = list(_violations(request, config))
    violations += id_list_violations("exclude_item_ids", request.exclude_item_ids, MAX_EXCLUDED_ITEMS)
    if request.page_size < 0:
        violations.append(FieldViolation("page_size", f"expected 0 or more, got {request.page_size}"))
    violations += _filter_violations(request.filter)
    identity, page = _identity(request), None
    try:
        page = PageToken.read(signer, request.page_token, identity) if request.page_token else None
    except InvalidRequestError as error:
        violations += error.violations
    violations += _query_violations(request, config)
    violations += _attribute_violations(request.attributes)
    raise_violations(violations)
    return _question(
        request,
        exclude_item_ids=frozenset(request.exclude_item_ids),
        item_filter=request.filter.strip(),
        limit=min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
        identity=identity,
        page=page,
        query=request.query.strip(),
        attributes=dict(request.attributes),
        treatment=treatment,
        parameters=parameters,
    )


def rank_question(
    request: RankRequest, config: Config, *, treatment: Treatment = UNTREATED
) -> tuple[Question, tuple[str, ...]]:
    """What a ``RankRequest`` asks, and the distinct items that it names, in its order.

    Raises:
        InvalidRequestError: It breaks a rule; all broken rules are named, up to a limit.
    """
    violations = list(_violations(request, config))
    if not request.item_ids:
        violations.append(FieldViolation("item_ids", f"expected 1 to {MAX_RANKED_ITEMS} ids, got none"))
    violations += id_list_violations("item_ids", request.item_ids, MAX_RANKED_ITEMS)
    raise_violations(violations)
    item_ids = tuple(dict.fromkeys(request.item_ids))
    asked = _question(
        request, exclude_item_ids=frozenset(), limit=len(item_ids), treatment=treatment, parameters=None
    )
    return asked, item_ids


def wait_seconds(wait_ms: int) -> float:
    """How long a ``StreamRecommend`` waits for late blurbs.

    Raises:
        InvalidRequestError: It is to wait less than no time.
    """
    if wait_ms < 0:
        raise_violations([FieldViolation("wait_ms", f"expected 0 or more, got {wait_ms}")])
    return min(wait_ms or DEFAULT_WAIT_MS, MAX_WAIT_MS) / 1000


def received_events(request: RecordEventsRequest, max_events: int) -> list[ReceivedEvent]:
    """The events of a batch, unchecked.

    Raises:
        InvalidRequestError: There are none, or too many.
    """
    if not 1 <= len(request.events) <= max_events:
        raise_violations(
            [FieldViolation("events", f"expected 1 to {max_events} events, got {len(request.events)}")]
        )
    return [_received(event) for event in request.events]


def _question(
    request: _Request,
    *,
    exclude_item_ids: frozenset[str],
    limit: int,
    item_filter: str = "",
    identity: bytes = b"",
    page: PageToken | None = None,
    query: str = "",
    attributes: Mapping[str, str] | None = None,
    treatment: Treatment,
    parameters: PlacementConfig | None,
) -> Question:
    return Question(
        subject=subject(request.user_id, request.visitor_id),
        placement=request.placement or DEFAULT_PLACEMENT,
        context_item_ids=tuple(request.context_item_ids),
        exclude_item_ids=exclude_item_ids,
        filter=item_filter,
        limit=limit,
        explain=request.explain,
        query=query,
        attributes=attributes or {},
        with_items=request.view == View.VIEW_FULL,
        identity=identity,
        page=page,
        treatment=treatment,
        parameters=parameters,
    )


def _identity(request: RecommendRequest) -> bytes:
    """Hash of what makes the list: every field but those that may change from page to page."""
    same = RecommendRequest()
    same.CopyFrom(request)
    for field in _CHANGES_BETWEEN_PAGES:
        same.ClearField(field)
    same.placement = request.placement or DEFAULT_PLACEMENT
    if same.user_id:
        same.ClearField("visitor_id")  # it is not read then
    return request_identity(same.SerializeToString(deterministic=True))


def _received(event: Event) -> ReceivedEvent:
    time = event.event_time
    return ReceivedEvent(
        event_id=event.event_id,
        event_type=event.event_type,
        user_id=event.user_id,
        visitor_id=event.visitor_id,
        item_id=event.item_id,
        event_time=time.seconds * 1000 + time.nanos // 1_000_000 if event.HasField("event_time") else None,
        session_id=event.session_id,
        quantity=event.quantity if event.HasField("quantity") else None,
        price=event.price if event.HasField("price") else None,
        list_id=event.list_id,
        position=event.position if event.HasField("position") else None,
        text=event.text,
        attribution_token=event.attribution_token,
    )


def raise_violations(violations: Sequence[FieldViolation]) -> None:
    """Refuse a request that breaks rules; some of them are named.

    Raises:
        InvalidRequestError: There is a violation.
    """
    if violations:
        raise InvalidRequestError(*violations[:_MAX_VIOLATIONS])


def _violations(request: _Request, config: Config) -> Iterator[FieldViolation]:
    """Rules that both kinds of request share."""
    placement = config.placements.get(request.placement or DEFAULT_PLACEMENT)
    if placement is None:
        known = ", ".join(sorted(config.placements))
        yield FieldViolation("placement", f"expected one of {known}; got {request.placement[:40]!r}")
    starts_from = placement.starts_from if placement is not None else "nothing"
    by_itself = starts_from in {"query", "nothing"} or (
        starts_from == "context" and bool(request.context_item_ids)
    )
    if not (request.user_id or request.visitor_id or by_itself):
        yield FieldViolation("user_id", "expected a user_id or a visitor_id for this placement, got neither")
    yield from asker_violations(request.user_id, request.visitor_id, {})
    yield from _size_violations("session_id", request.session_id)
    yield from id_list_violations("context_item_ids", request.context_item_ids, MAX_CONTEXT_ITEMS)
    if request.view not in View.values():
        yield FieldViolation("view", f"expected one of {', '.join(View.keys())}, got {request.view}")


def asker_violations(
    user_id: str, visitor_id: str, attributes: Mapping[str, str]
) -> Iterator[FieldViolation]:
    """What is wrong with who asks, and with what is known of the request."""
    if user_id.startswith(VISITOR_PREFIX[0]):
        problem = "expected an id that does not begin with U+001F, which marks visitors"
        yield FieldViolation("user_id", problem)
    yield from _size_violations("user_id", user_id)
    yield from _size_violations("visitor_id", visitor_id)
    yield from _attribute_violations(attributes)


def _query_violations(request: RecommendRequest, config: Config) -> Iterator[FieldViolation]:
    placement = config.placements.get(request.placement or DEFAULT_PLACEMENT)
    if placement is not None and placement.starts_from == "query" and not request.query.strip():
        yield FieldViolation(
            "query", f"expected what to look for, as {request.placement} needs it, got nothing"
        )
    if len(request.query) > MAX_QUERY_CHARS:
        problem = f"expected at most {MAX_QUERY_CHARS} characters, got {len(request.query):,}"
        yield FieldViolation("query", problem)


def _attribute_violations(attributes: Mapping[str, str]) -> Iterator[FieldViolation]:
    if len(attributes) > MAX_ATTRIBUTES:
        yield FieldViolation(
            "attributes", f"expected at most {MAX_ATTRIBUTES} entries, got {len(attributes)}"
        )
        return
    for key, value in attributes.items():
        size = len(key.encode())
        if not 1 <= size <= MAX_KEY_BYTES:
            yield FieldViolation("attributes", f"expected keys of 1 to {MAX_KEY_BYTES} bytes, got {size}")
        yield from _size_violations(f"attributes[{key[:40]}]", value)


def _filter_violations(item_filter: str) -> Iterator[FieldViolation]:
    try:
        if item_filter.strip():
            compile_filter(item_filter.strip())
    except InvalidRequestError as error:
        yield from error.violations


def id_list_violations(field: str, ids: Sequence[str], limit: int) -> Iterator[FieldViolation]:
    """What is wrong with a list of ids: too many, or one that is empty or too long."""
    if len(ids) > limit:
        yield FieldViolation(field, f"expected at most {limit} ids, got {len(ids)}")
        return
    for index, item_id in enumerate(ids):
        if not item_id:
            yield FieldViolation(f"{field}[{index}]", f"expected 1 to {MAX_ID_BYTES} bytes, got 0")
        yield from _size_violations(f"{field}[{index}]", item_id)


def _size_violations(field: str, text: str) -> Iterator[FieldViolation]:
    size = len(text.encode())
    if size > MAX_ID_BYTES:
        yield FieldViolation(field, f"expected at most {MAX_ID_BYTES} bytes of UTF-8, got {size}")
