"""Tests of later pages over a real channel."""

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
import redis

from recsys.v1.event_service_pb2 import Event
from recsys.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from recsys.v1.types_pb2 import ServiceLevel, View
from serving.client import Client
from serving.embedded_store import embedded_store
from serving.page_token import PageToken
from serving.signer import Signer, signing_keys
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, SmallPipeline
from tests.serving.test_servicer import violated

FIRST = RecommendRequest(user_id="u", page_size=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store() as where:
        yield where


@pytest.fixture(scope="module")
def pipelines() -> tuple[SmallPipeline, SmallPipeline]:
    return SmallPipeline(), SmallPipeline(version="small-2")


@pytest.fixture(scope="module")
def clients(
    root: Path, url: str, pipelines: tuple[SmallPipeline, SmallPipeline]
) -> Iterator[tuple[Client, Client]]:
    """Two workers of one workspace, with different models."""
    one, other = pipelines
    with (
        running_server(root, one, redis_url=url) as here,
        running_server(root, other, redis_url=url) as there,
        Client(here, timeout_seconds=PATIENCE_SECONDS) as first,
        Client(there, timeout_seconds=PATIENCE_SECONDS) as second,
    ):
        yield first, second


def ids(response: RecommendResponse) -> list[str]:
    return [result.item_id for result in response.results]


def following(response: RecommendResponse, **changes: object) -> RecommendRequest:
    request = RecommendRequest()
    request.CopyFrom(FIRST)
    request.page_token = response.next_page_token
    request.MergeFrom(RecommendRequest(**changes))  # type: ignore[arg-type]  # fields of several types
    return request


def refused(client: Client, request: RecommendRequest) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        client.recommend(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    [(field, description)] = violated(caught.value).items()
    assert field == "page_token"
    return description


def test_pages_of_one_list_neither_repeat_nor_leave_out(clients: tuple[Client, Client]) -> None:
    first, second = clients
    whole = first.recommend(RecommendRequest(user_id="u"))
    assert (ids(whole), whole.next_page_token) == (list(ITEM_IDS), "")
    page = first.recommend(FIRST)
    first.record_events([Event(event_type="purchase", user_id="u", item_id="eggs")])
    later = second.recommend(following(page))
    last = first.recommend(following(later))
    assert ids(page) + ids(later) + ids(last) == list(ITEM_IDS)
    assert last.next_page_token == ""
    assert {page.model_version, later.model_version, last.model_version} == {"small-1"}
    assert len({page.attribution_token, later.attribution_token, last.attribution_token}) == 3
    assert ids(first.recommend(FIRST))[0] == "eggs"


def test_a_page_can_be_asked_for_again_and_in_another_size(clients: tuple[Client, Client]) -> None:
    first, second = clients
    page = second.recommend(RecommendRequest(user_id="u-size", page_size=1))
    request = RecommendRequest(user_id="u-size", page_token=page.next_page_token, session_id="new")
    assert ids(first.recommend(request)) == ids(second.recommend(request)) == list(ITEM_IDS[1:])


def test_a_later_page_says_what_the_list_was(clients: tuple[Client, Client]) -> None:
    first, _ = clients
    page = first.recommend(RecommendRequest(user_id="nobody", page_size=2, explain=True))
    request = RecommendRequest(
        user_id="nobody", page_size=2, page_token=page.next_page_token, view=View.VIEW_FULL, explain=True
    )
    later = first.recommend(request)
    assert [result.item.title for result in later.results] == ["Cheese", "Dates"]
    assert [list(result.sources) for result in later.results] == [["own"], ["own"]]
    assert later.service_level == page.service_level == ServiceLevel.SERVICE_LEVEL_POPULAR
    assert list(later.degraded_reasons) == ["explanation_unavailable"]


def test_what_can_no_longer_be_sold_is_passed_over_without_a_gap(
    clients: tuple[Client, Client], pipelines: tuple[SmallPipeline, SmallPipeline]
) -> None:
    first, _ = clients
    request = RecommendRequest(user_id="u-sold", page_size=2)
    page = first.recommend(request)
    request.page_token = page.next_page_token
    pipelines[0].sold_out.add("cheese")
    later = first.recommend(request)
    pipelines[0].sold_out.add("dates")
    rest = first.recommend(request)
    pipelines[0].sold_out.clear()
    assert (ids(later), later.next_page_token) == (["dates", "eggs"], "")
    assert (ids(rest), rest.next_page_token) == (["eggs"], "")


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "else"},
        {"placement": "similar_items", "context_item_ids": ["eggs"]},
        {"context_item_ids": ["eggs"]},
        {"exclude_item_ids": ["eggs"]},
        {"filter": "price < 5"},
    ],
)
def test_a_token_of_another_request_is_refused(
    clients: tuple[Client, Client], change: dict[str, object]
) -> None:
    page = clients[0].recommend(FIRST)
    for client in clients:
        assert "got one of another" in refused(client, following(page, **change))


def test_what_is_not_read_does_not_make_another_request(clients: tuple[Client, Client]) -> None:
    page = clients[0].recommend(FIRST)
    for change in ({"visitor_id": "v"}, {"placement": "home"}, {"page_size": 1}, {"session_id": "s"}):
        assert clients[0].recommend(following(page, **change)).results


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "x",
        lambda token: token[:-1],
        lambda token: token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
        lambda token: token + "=",
        lambda token: "A" * len(token),
    ],
)
def test_a_tampered_token_is_refused(clients: tuple[Client, Client], damage: Callable[[str], str]) -> None:
    request = following(clients[0].recommend(FIRST))
    request.page_token = damage(request.page_token)
    assert "token" in refused(clients[0], request)


def test_an_attribution_token_is_no_page_token(clients: tuple[Client, Client]) -> None:
    page = clients[0].recommend(FIRST)
    page.next_page_token = page.attribution_token
    assert "expected a token that the server gave" in refused(clients[0], following(page))


def test_an_expired_list_is_told_apart(clients: tuple[Client, Client], root: Path, url: str) -> None:
    page = clients[0].recommend(FIRST)
    signer = Signer(signing_keys(None, root / "state"), "default")
    identity = signer.open("page_token", page.next_page_token, struct.calcsize(">q16s16sHH"))[24:40]
    long_ago = replace(PageToken.read(signer, page.next_page_token, identity), issued_ms=0)
    clients[1].recommend(following(page))  # it is written
    with redis.Redis.from_url(url) as raw:
        key = f"recsys:default:p:{long_ago.list_id}"
        assert 0 < raw.ttl(key) <= 15 * 60
        raw.delete(key)
    page.next_page_token = long_ago.signed(signer)
    assert "expired one; ask for the first page" in refused(clients[1], following(page))


def test_validate_only_checks_the_token_too(clients: tuple[Client, Client]) -> None:
    page = clients[0].recommend(FIRST)
    assert not clients[0].recommend(following(page, validate_only=True)).results
    page.next_page_token = "x"
    refused(clients[0], following(page, validate_only=True))


def test_a_store_that_is_away_is_told_and_the_first_page_comes(tmp_path: Path) -> None:
    with ExitStack() as servers:
        with embedded_store() as gone:
            one, other = (
                Client(
                    servers.enter_context(running_server(tmp_path, redis_url=gone, store_timeout_ms=200)),
                    timeout_seconds=PATIENCE_SECONDS,
                )
                for _ in range(2)
            )
            page = one.recommend(FIRST)
        with one, other:
            with pytest.raises(grpc.RpcError) as caught:
                other.recommend(following(page))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert ids(other.recommend(FIRST)) == ["apples", "bread"]


def test_without_depth_every_list_has_one_page(tmp_path: Path) -> None:
    pipeline = SmallPipeline()
    with (
        running_server(tmp_path, pipeline, page_depth=0) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        page = client.recommend(FIRST)
    assert (ids(page), page.next_page_token) == (["apples", "bread"], "")
    assert pipeline.queries[-1].depth == 0


def test_a_kept_list_comes_back_as_it_was() -> None:
    from recsys.answer import ServiceLevel as Level
    from recsys.experiments.arm_record import ArmRecord
    from serving.kept_list import KeptList

    kept = KeptList(
        ["a", "ünï\x00", "c" * 256],
        np.asarray([0.1, -3.0, 1e300]),
        np.asarray([1, 3, 65535], np.uint32),
        "m",
        Level.FULL,
        ("r",),
        ("gone",),
        ArmRecord((("e", "a"),), (3,), ("e",), ("e",)),
        {1: 0.002},
        "drawn",
    )
    again = KeptList.from_bytes(kept.to_bytes())
    assert again.item_ids == kept.item_ids
    assert (again.scores.tolist(), again.sources.tolist()) == (kept.scores.tolist(), kept.sources.tolist())
    assert (again.model_version, again.service_level, again.record) == ("m", Level.FULL, kept.record)
    assert (again.policy, again.ranked([0]).policy) == ("drawn", "drawn")
    assert (again.degraded_reasons, again.missing_item_ids) == (("r",), ("gone",))
    assert [item.propensity for item in again.ranked([0, 1, 2]).items] == [1, 0.002, 1]


def test_a_page_comes_back_whatever_was_asked_for_in_vain(clients: tuple[Client, Client]) -> None:
    vain = [f"{number:03}" + "\x01" * 253 for number in range(100)]  # each character takes six in JSON
    request = RecommendRequest(user_id="u1", page_size=1, context_item_ids=vain)
    first = clients[0].recommend(request)
    request.page_token = first.next_page_token
    again = clients[1].recommend(request)
    assert len(again.missing_item_ids) == len(first.missing_item_ids)
    assert len(again.results) == 1
