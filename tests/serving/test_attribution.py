"""Tests of events that carry an attribution token, over a real channel."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path

import grpc
import polars as pl
import pytest

from recsys.call_ids import REQUEST_ID
from recsys.cli import run
from recsys.event_log import EventLog
from recsys.experiments.exposures import scan_served_lists
from recsys.v1.event_service_pb2 import Event, EventResult, EventStatus
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from recsys.workspace import Workspace
from serving.attribution_token import AttributionToken
from serving.client import Client
from serving.event import Event as Kept
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.list_log import LIST_FILE, ListLog
from serving.served_list import ServedList
from serving.signer import Signer, signing_keys
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import ITEM_IDS, VERSION

ACCEPTED = EventStatus.EVENT_STATUS_ACCEPTED
DUPLICATE = EventStatus.EVENT_STATUS_DUPLICATE
REJECTED = EventStatus.EVENT_STATUS_REJECTED


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with running_server(root) as where:
        yield where


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address, timeout_seconds=PATIENCE_SECONDS) as connected:
        yield connected


def signer(root: Path) -> Signer:
    return Signer(signing_keys(None, root / "state"), "default")


def token_of(client: Client, **asked: object) -> str:
    return client.recommend(RecommendRequest(**asked)).attribution_token  # type: ignore[arg-type]  # several types


def forgotten(root: Path) -> str:
    """A token of a list that is in no log."""
    return AttributionToken("ab" * 16, 0).signed(signer(root))


def kept(root: Path, list_id: str) -> list[Kept]:
    """The events of a list, in the order of their receipt."""
    with closing(SqliteEventBuffer(root / "state" / BUFFER_FILE)) as buffer:
        return [b.event for b in buffer.since(0, 10_000) if b.event.list_id == list_id]


def show(words: list[str]) -> int:
    """Exit code of ``recsys lists show``."""
    verb = EntryPoint("lists", "serving.lists_command:lists", "recsys.commands")
    return run(["lists", "show", *words], [verb])


def one(client: Client, **event: object) -> EventResult:
    [result] = client.record_events([Event(**event)])  # type: ignore[arg-type]  # fields of several types
    return result


def test_every_answer_is_on_record(client: Client, address: str, root: Path) -> None:
    with grpc.insecure_channel(address) as channel:
        request = RankRequest(user_id="u-record", item_ids=["eggs", "bread", "unicorn"])
        answer = RecommendationServiceStub(channel).Rank(
            request, metadata=((REQUEST_ID, "page-42"),), timeout=PATIENCE_SECONDS
        )
    list_id = AttributionToken.read(signer(root), answer.attribution_token).list_id
    page = client.recommend(RecommendRequest(visitor_id="v", page_size=2))
    later = client.recommend(RecommendRequest(visitor_id="v", page_size=2, page_token=page.next_page_token))
    first, second = (
        AttributionToken.read(signer(root), token.attribution_token).list_id for token in (page, later)
    )
    lists: dict[str, ServedList] = {}
    with closing(ListLog(root / "state" / LIST_FILE)) as log:
        while len(lists) < 3:
            lists = log.find([list_id, first, second])
    ranked = lists[list_id]
    assert (ranked.subject, ranked.placement, ranked.request_id) == ("u-record", "home", "page-42")
    assert (ranked.model_version, ranked.item_ids, ranked.arms) == (VERSION, ("bread", "eggs"), ())
    assert (ranked.scores, ranked.propensities) == ((0.0, 0.0), (1.0, 1.0))
    assert (ranked.first_position, ranked.first_list_id) == (0, None)
    assert 0 < (ranked.latency_ms or 0) < 1000 * PATIENCE_SECONDS
    assert (lists[first].subject, lists[first].item_ids) == ("\x1fvisitor:v", ITEM_IDS[:2])
    assert (lists[second].item_ids, lists[second].first_position) == (ITEM_IDS[2:4], 2)
    assert lists[second].first_list_id == first


def test_lists_can_be_exported_while_the_server_runs(client: Client, root: Path) -> None:
    token = token_of(client, user_id="u-export")
    list_id = AttributionToken.read(signer(root), token).list_id
    verb = EntryPoint("lists", "serving.lists_command:lists", "recsys.commands")
    deadline, exported = time.monotonic() + PATIENCE_SECONDS, pl.DataFrame()
    while exported.is_empty():  # it is written in the background
        assert time.monotonic() < deadline
        assert run(["lists", "export", "--workspace", str(root)], [verb]) == 0
        exported = scan_served_lists(Workspace(root)).filter(list_id=list_id).collect()
    assert exported["latency_ms"].item() > 0


def test_a_token_fills_in_list_and_position(client: Client, root: Path) -> None:
    token = token_of(client, user_id="u-fill")
    list_id = AttributionToken.read(signer(root), token).list_id
    events = [
        Event(event_type="click", user_id="u-fill", item_id="cheese", attribution_token=token),
        Event(event_type="click", user_id="u-fill", item_id="dates", position=7, attribution_token=token),
        Event(event_type="purchase", item_id="eggs", attribution_token=token, list_id=list_id),
    ]
    assert [result.status for result in client.record_events(events)] == [ACCEPTED] * 3
    assert [(e.user_id, e.item_id, e.position) for e in kept(root, list_id)] == [
        ("u-fill", "cheese", 2),
        ("u-fill", "dates", 7),
        ("u-fill", "eggs", 4),
    ]


def test_impressions_by_token_alone_stand_for_the_whole_list_once(client: Client, root: Path) -> None:
    page = client.recommend(RecommendRequest(visitor_id="v-all", page_size=3))
    later = client.recommend(
        RecommendRequest(visitor_id="v-all", page_size=3, page_token=page.next_page_token)
    )
    events = [
        Event(event_type="impression", attribution_token=page.attribution_token),
        Event(event_type="impression", attribution_token=later.attribution_token, event_id="mine"),
    ]
    first, second = client.record_events(events)
    again, mine = client.record_events(events)
    assert [r.status for r in (first, second, again, mine)] == [ACCEPTED, ACCEPTED, DUPLICATE, DUPLICATE]
    assert (second.event_id, first.event_id) == ("mine", again.event_id)
    list_ids = [AttributionToken.read(signer(root), e.attribution_token).list_id for e in events]
    shown = [(e.item_id, e.position) for list_id in list_ids for e in kept(root, list_id)]
    assert shown == list(zip(ITEM_IDS, range(5), strict=True))
    assert {e.user_id for e in kept(root, list_ids[0])} == {"\x1fvisitor:v-all"}


def test_a_forgotten_list_is_kept_by_name_where_that_is_enough(client: Client, root: Path) -> None:
    token = forgotten(root)
    click = one(client, event_type="click", user_id="u", item_id="eggs", attribution_token=token)
    assert click.status == ACCEPTED
    assert [(e.list_id, e.position) for e in kept(root, "ab" * 16)] == [("ab" * 16, None)]
    shown = one(client, event_type="impression", user_id="u", attribution_token=token)
    assert (shown.status, shown.reason.split(",")[0]) == (
        REJECTED,
        "attribution_token: expected a list that is still known",
    )
    nobody = one(client, event_type="click", item_id="eggs", attribution_token=token)
    assert (nobody.status, nobody.reason[:8]) == (REJECTED, "user_id:")


@pytest.mark.parametrize("event_type", ["click", "impression"])
@pytest.mark.parametrize("damage", ["x", "A" * 60, "\x00" * 60])
def test_a_tampered_token_rejects_its_event_only(client: Client, event_type: str, damage: str) -> None:
    good = Event(event_type="click", user_id="u", item_id="eggs")
    bad = Event(event_type=event_type, user_id="u", item_id="eggs", attribution_token=damage, event_id="bad")
    rejected, accepted = client.record_events([bad, good])
    assert (rejected.status, rejected.event_id, accepted.status) == (REJECTED, "bad", ACCEPTED)
    assert rejected.reason.startswith("attribution_token: expected a token")


def test_what_contradicts_the_token_or_itself_is_rejected(client: Client) -> None:
    token = token_of(client, user_id="u-odd")
    page_token = client.recommend(RecommendRequest(user_id="u-odd", page_size=1)).next_page_token
    nobodys = token_of(client, placement="similar_items", context_item_ids=["eggs"])
    rejected = {
        "list_id": {"event_type": "click", "item_id": "eggs", "list_id": "other", "attribution_token": token},
        "item_id": {"event_type": "click", "attribution_token": token},
        "event_type": {"event_type": "wish", "item_id": "eggs", "attribution_token": token},
        "event_id": {"event_type": "impression", "event_id": "e" * 257, "attribution_token": token},
        "attribution_token": {"event_type": "impression", "user_id": "u", "attribution_token": page_token},
        "user_id": {"event_type": "click", "item_id": "eggs", "attribution_token": nobodys},
    }
    for field, event in rejected.items():
        result = one(client, **event)
        assert (result.status, result.reason.split(":")[0]) == (REJECTED, field)


def test_lists_show_resolves_a_token_while_it_serves_and_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        running_server(tmp_path) as address,
        Client(address, timeout_seconds=PATIENCE_SECONDS) as client,
    ):
        token = token_of(client, user_id="u", page_size=2)
        one(client, event_type="impression", attribution_token=token)
    where = ["--workspace", str(tmp_path)]
    assert show([token, "--json", *where]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["item_ids"], shown["subject"], shown["propensities"]) == (["apples", "bread"], "u", [1, 1])
    (tmp_path / "state" / LIST_FILE).unlink()
    assert show([shown["list_id"], "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == shown
    assert show([token, *where]) == 0
    assert "apples" in capsys.readouterr().out
    assert show(["0" * 32, *where]) == 1
    assert "no list" in capsys.readouterr().err
    assert show(["junk", *where]) == 1
    lists = pl.read_parquet(tmp_path / "served_lists" / "day=*" / "*.parquet", hive_partitioning=False)
    joined = EventLog(tmp_path / "events").scan().collect().join(lists, on="list_id")
    assert joined.sort("position").select("item_id", "position").rows() == [("apples", 0), ("bread", 1)]
