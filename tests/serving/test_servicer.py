"""Tests of the services over a real channel."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.v1.types_pb2 import ServiceLevel, View
from serving.client import Client
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, NOON, VERSION, SmallPipeline


@pytest.fixture(scope="module")
def pipeline() -> SmallPipeline:
    return SmallPipeline()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, pipeline: SmallPipeline) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("workspace"), pipeline) as where:
        yield where


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address, timeout_seconds=PATIENCE_SECONDS) as connected:
        yield connected


def violated(error: grpc.RpcError) -> dict[str, str]:
    """Field to description of an INVALID_ARGUMENT."""
    status = rpc_status.from_call(error)
    info, bad_request = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "recsys")
    assert status.details[1].Unpack(bad_request)
    return {violation.field: violation.description for violation in bad_request.field_violations}


def test_unknown_user_gets_popular_items(client: Client) -> None:
    response = client.recommend(RecommendRequest(user_id="nobody"))
    assert [result.item_id for result in response.results] == list(ITEM_IDS)
    assert response.service_level == ServiceLevel.SERVICE_LEVEL_POPULAR
    assert response.model_version == VERSION
    assert not response.degraded_reasons


def test_an_event_changes_the_next_answer(client: Client) -> None:
    before = client.recommend(RecommendRequest(user_id="u-event"))
    assert before.results[0].item_id == "apples"
    results = client.record_events([Event(event_type="purchase", user_id="u-event", item_id="eggs")])
    assert [result.status for result in results] == [EventStatus.EVENT_STATUS_ACCEPTED]
    after = client.recommend(RecommendRequest(user_id="u-event"))
    assert after.results[0].item_id == "eggs"
    assert after.results[0].score == pytest.approx(1.0, rel=1e-4)
    assert after.service_level == ServiceLevel.SERVICE_LEVEL_FULL


def test_a_visitor_has_a_state_of_its_own(client: Client) -> None:
    client.record_events([Event(event_type="purchase", visitor_id="x", item_id="dates")])
    assert client.recommend(RecommendRequest(visitor_id="x")).results[0].item_id == "dates"
    assert client.recommend(RecommendRequest(user_id="x")).results[0].item_id == "apples"


def test_the_same_event_id_counts_once(client: Client, pipeline: SmallPipeline) -> None:
    event = Event(event_id="once", event_type="purchase", user_id="u-once", item_id="bread")
    [first] = client.record_events([event])
    [second] = client.record_events([event])
    assert first.status == EventStatus.EVENT_STATUS_ACCEPTED
    assert second.status == EventStatus.EVENT_STATUS_DUPLICATE
    client.recommend(RecommendRequest(user_id="u-once"))
    user = pipeline.queries[-1].user
    assert user is not None
    assert user.counts.tolist() == [1]


def test_full_view_carries_the_catalogue_row(client: Client) -> None:
    response = client.recommend(RecommendRequest(user_id="u", view=View.VIEW_FULL, page_size=1))
    item = response.results[0].item
    assert (item.item_id, item.title, item.price, item.currency) == ("apples", "Apples", 1.5, "USD")
    assert list(item.category) == ["Shop", "Food"]
    assert dict(item.attributes) == {"size": "1 kg"}
    assert item.created_time.ToDatetime().isoformat() == "2017-11-01T00:00:00"
    basic = client.recommend(RecommendRequest(user_id="u", page_size=1))
    assert not basic.results[0].HasField("item")


def test_explanations_add_up_to_the_score(client: Client) -> None:
    client.record_events([Event(event_type="purchase", user_id="u-why", item_id="eggs")])
    result = client.recommend(RecommendRequest(user_id="u-why", explain=True)).results[0]
    explained = result.explanation.base_value + sum(c.contribution for c in result.explanation.contributions)
    assert explained == result.score
    assert list(result.reasons) == ["bought before"]


def test_below_full_service_an_explanation_is_missed_aloud(client: Client) -> None:
    response = client.recommend(RecommendRequest(user_id="nobody", explain=True))
    assert list(response.degraded_reasons) == ["explanation_unavailable"]


@pytest.mark.parametrize(("asked", "expected"), [(0, 20), (7, 7), (201, 200), (10**9, 200)])
def test_page_size_is_coerced(client: Client, pipeline: SmallPipeline, asked: int, expected: int) -> None:
    client.recommend(RecommendRequest(user_id="u", page_size=asked))
    assert pipeline.queries[-1].limit == expected


def test_a_query_and_attributes_reach_the_pipeline(client: Client, pipeline: SmallPipeline) -> None:
    attributes = {"country": "NL", "device": ""}
    client.recommend(RecommendRequest(user_id="u", query=" rye bread ", attributes=attributes))
    asked = pipeline.queries[-1]
    assert (asked.query, asked.attributes, asked.subject) == ("rye bread", attributes, "u")


def test_a_result_says_what_moved_it(client: Client) -> None:
    [result] = client.recommend(RecommendRequest(user_id="u", page_size=1, query="moved")).results
    [new, moved] = result.rule_steps
    assert (new.rule, new.HasField("from_position"), new.to_position) == ("pin", False, 2)
    assert (moved.rule, moved.HasField("from_position"), moved.from_position) == ("boost", True, 0)
    assert not client.recommend(RecommendRequest(user_id="u", page_size=1)).results[0].rule_steps


def test_placements_that_start_from_something_else_need_nobody(client: Client) -> None:
    assert client.recommend(RecommendRequest(placement="trending")).results
    assert client.recommend(RecommendRequest(placement="search", query="bread")).results
    assert client.rank(RankRequest(placement="search", item_ids=["eggs"])).results
    for request in (RecommendRequest(placement="cart"), RecommendRequest(placement="buy_it_again")):
        with pytest.raises(grpc.RpcError) as caught:
            client.recommend(request)
        assert list(violated(caught.value)) == ["user_id"]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (RecommendRequest(user_id="u", placement="search", query="  "), ["query"]),
        (RecommendRequest(user_id="u", query="x" * 501), ["query"]),
        (RecommendRequest(user_id="u", attributes={str(i): "" for i in range(33)}), ["attributes"]),
        (RecommendRequest(user_id="u", attributes={"k" * 65: "v"}), ["attributes"]),
        (RecommendRequest(user_id="u", attributes={"": "v"}), ["attributes"]),
        (RecommendRequest(user_id="u", attributes={"country": "é" * 129}), ["attributes[country]"]),
    ],
)
def test_a_query_or_attributes_beyond_their_limits_are_refused(
    client: Client, request_: RecommendRequest, fields: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.recommend(request_)
    assert list(violated(caught.value)) == fields


def test_validate_only_answers_nothing(client: Client, pipeline: SmallPipeline) -> None:
    before = len(pipeline.queries)
    response = client.recommend(RecommendRequest(user_id="u", validate_only=True))
    ranked = client.rank(RankRequest(user_id="u", item_ids=["eggs"], validate_only=True))
    assert (len(response.results), len(ranked.results), response.model_version) == (0, 0, VERSION)
    assert len(pipeline.queries) == before
    with pytest.raises(grpc.RpcError) as caught:
        client.recommend(RecommendRequest(validate_only=True))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_placement_from_context_needs_no_user(client: Client, pipeline: SmallPipeline) -> None:
    response = client.recommend(
        RecommendRequest(placement="similar_items", context_item_ids=["eggs", "unicorn"])
    )
    assert pipeline.queries[-1].context_item_ids == ("eggs", "unicorn")
    assert list(response.missing_item_ids) == ["unicorn"]


def test_excluded_items_do_not_come_back(client: Client) -> None:
    response = client.recommend(RecommendRequest(user_id="u", exclude_item_ids=["apples", "eggs"]))
    assert [result.item_id for result in response.results] == ["bread", "cheese", "dates"]


def test_the_filter_reaches_the_pipeline_once_it_is_read(client: Client, pipeline: SmallPipeline) -> None:
    client.recommend(RecommendRequest(user_id="u", filter=" price < 2 "))
    assert pipeline.queries[-1].filter == "price < 2"
    client.recommend(RecommendRequest(user_id="u", filter=" "))
    assert pipeline.queries[-1].filter == ""


def test_rank_orders_known_items_and_names_the_others(client: Client) -> None:
    client.record_events([Event(event_type="purchase", user_id="u-rank", item_id="dates")])
    response = client.rank(RankRequest(user_id="u-rank", item_ids=["eggs", "dates", "unicorn", "eggs"]))
    assert [result.item_id for result in response.results] == ["dates", "eggs"]
    assert list(response.missing_item_ids) == ["unicorn"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (RecommendRequest(), "user_id"),
        (RecommendRequest(placement="similar_items"), "user_id"),
        (RecommendRequest(context_item_ids=["eggs"]), "user_id"),
        (RecommendRequest(user_id="u" * 257), "user_id"),
        (RecommendRequest(user_id="é" * 129), "user_id"),
        (RecommendRequest(user_id="\x1fvisitor:x"), "user_id"),
        (RecommendRequest(visitor_id="v" * 257), "visitor_id"),
        (RecommendRequest(user_id="u", session_id="s" * 257), "session_id"),
        (RecommendRequest(user_id="u", placement="attic"), "placement"),
        (RecommendRequest(user_id="u", page_size=-1), "page_size"),
        (RecommendRequest(user_id="u", view=99), "view"),  # type: ignore[arg-type]  # an unknown value
        (RecommendRequest(user_id="u", context_item_ids=["eggs", ""]), "context_item_ids[1]"),
        (RecommendRequest(user_id="u", context_item_ids=["eggs"] * 101), "context_item_ids"),
        (RecommendRequest(user_id="u", exclude_item_ids=["x" * 257]), "exclude_item_ids[0]"),
        (RecommendRequest(user_id="u", exclude_item_ids=["x"] * 1001), "exclude_item_ids"),
        (RecommendRequest(user_id="u", filter="price < cheap"), "filter"),
        (RecommendRequest(user_id="u", filter="price <"), "filter"),
    ],
)
def test_recommend_names_the_field_that_breaks_a_rule(
    client: Client, request_: RecommendRequest, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.recommend(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(caught.value)) == [field]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (RankRequest(item_ids=["eggs"]), "user_id"),
        (RankRequest(user_id="u"), "item_ids"),
        (RankRequest(user_id="u", item_ids=["eggs"] * 1001), "item_ids"),
        (RankRequest(user_id="u", item_ids=["eggs", "x" * 257]), "item_ids[1]"),
    ],
)
def test_rank_names_the_field_that_breaks_a_rule(client: Client, request_: RankRequest, field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.rank(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(caught.value)) == [field]


def test_an_unknown_placement_is_told_the_known_ones(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.recommend(RecommendRequest(user_id="u", placement="attic"))
    assert "home, recently_viewed, search, similar_items" in violated(caught.value)["placement"]


def test_many_violations_still_arrive(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.rank(RankRequest(placement="é" * 1000, user_id="u" * 999, item_ids=["x" * 257] * 500))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(caught.value))[:2] == ["placement", "user_id"]


@pytest.mark.parametrize("size", [0, 1001])
def test_an_empty_or_too_long_batch_is_refused(client: Client, size: int) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.record_events([Event()] * size)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(caught.value)) == ["events"]


def test_a_rejected_event_says_why_and_spares_its_neighbours(client: Client) -> None:
    good = Event(event_type="view", user_id="u-mixed", item_id="eggs")
    bad = Event(event_id="bad", event_type="wish", user_id="u-mixed", item_id="eggs")
    unknown = Event(event_type="view", user_id="u-mixed", item_id="unicorn")
    results = client.record_events([bad, good, unknown])
    rejected, accepted = EventStatus.EVENT_STATUS_REJECTED, EventStatus.EVENT_STATUS_ACCEPTED
    assert [result.status for result in results] == [rejected, accepted, rejected]
    assert results[0].event_id == "bad"
    assert results[0].reason.startswith("event_type: expected one of impression, view")
    assert "item_id" in results[2].reason


def test_an_event_keeps_its_own_time(client: Client, pipeline: SmallPipeline) -> None:
    event = Event(event_type="click", user_id="u-time", item_id="eggs")
    event.event_time.FromMilliseconds(NOON)
    client.record_events([event])
    client.recommend(RecommendRequest(user_id="u-time"))
    user = pipeline.queries[-1].user
    assert user is not None
    assert user.latest_ms == NOON


@pytest.mark.parametrize(
    "method",
    [
        "/recsys.v1.RecommendationService/Recommend",
        "/recsys.v1.RecommendationService/Rank",
        "/recsys.v1.EventService/RecordEvents",
    ],
)
@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x02\xc3\x28", b"\x0a\x7f"])
def test_malformed_protobuf_is_an_invalid_argument(address: str, method: str, raw: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as caught:
            call(raw, timeout=PATIENCE_SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(violated(caught.value)) == [""]


def test_an_unknown_method_is_unimplemented(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        method = "/recsys.v1.RecommendationService/Guess"
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=PATIENCE_SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_over_the_limit_is_refused(client: Client) -> None:
    event = Event(event_type="comment", user_id="u", item_id="eggs", text="x" * (1 << 20))
    with pytest.raises(grpc.RpcError) as caught:
        client.record_events([event])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_what_breaks_inside_stays_inside(tmp_path: Path) -> None:
    pipeline = SmallPipeline(failure=ZeroDivisionError("a secret of the house"))
    with running_server(tmp_path, pipeline) as where, Client(where, timeout_seconds=PATIENCE_SECONDS) as own:
        with pytest.raises(grpc.RpcError) as caught:
            own.recommend(RecommendRequest(user_id="u"))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(caught.value.details())
        pipeline.failure = None
        assert own.recommend(RecommendRequest(user_id="u")).results
