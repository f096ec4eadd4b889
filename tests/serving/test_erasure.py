"""Tests of erasure: from every read path, over restarts, replays and restored backups."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import polars as pl
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from recsys.config import StateConfig
from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.schema import EVENT_ID
from recsys.v1 import admin_service_pb2 as pb
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.event_service_pb2 import Event, EventResult, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from serving.embedded_store import embedded_store
from serving.erasure import open_eraser, resume_erasures
from serving.event import VISITOR_PREFIX, BufferedEvent
from serving.personal_data import remembered
from serving.state_store import StateStore
from serving.store_clients import connect
from serving.users_command import erase_user, users
from tests.serving.running import PATIENCE_SECONDS, free_port, running_server
from tests.serving.small_shop import make_event

PERSON = "canary-4711-person"
VISITOR = "canary-4711-visitor"


@contextmanager
def served(root: Path) -> Iterator[tuple[Client, AdminServiceStub]]:
    port = free_port()
    with (
        running_server(root, admin_port=port) as where,
        Client(where, timeout_seconds=PATIENCE_SECONDS) as client,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield client, AdminServiceStub(channel)


def happenings(start_ms: int = 0) -> list[Event]:
    """A visitor who looks at something, logs in and buys; and somebody else."""
    events = [
        Event(event_id="e1", event_type="view", visitor_id=VISITOR, item_id="dates", session_id=PERSON),
        Event(event_id="e2", event_type="view", visitor_id=VISITOR, user_id=PERSON, item_id="eggs"),
        Event(event_id="e3", event_type="purchase", user_id=PERSON, item_id="eggs"),
        Event(event_id="e4", event_type="purchase", user_id="somebody", item_id="bread"),
    ]
    for event in events:
        if start_ms:
            event.event_time.FromMilliseconds(start_ms)
    return events


def statuses(results: list[EventResult]) -> list[str]:
    return [EventStatus.Name(result.status).removeprefix("EVENT_STATUS_") for result in results]


def best(client: Client, **asked: str) -> str:
    return client.recommend(RecommendRequest(**asked)).results[0].item_id  # type: ignore[arg-type]  # ids


def hits(root: Path) -> list[str]:
    """Files that hold the person's ids anywhere in their bytes."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [str(path.relative_to(root)) for path in files if b"canary-4711" in _content(path)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a server took it away since it was listed
        return b""


def log_ids(root: Path) -> list[str]:
    return sorted(EventLog(Workspace(root).events).scan().select(EVENT_ID).collect()[EVENT_ID].to_list())


def test_an_erased_user_is_nowhere_and_may_come_back_as_somebody_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(point: str) -> None:  # the order is seen by whoever looks for what crashed servers left
        time.sleep(0.8 if point == "erasure-tombstoned" else 0)

    monkeypatch.setattr("serving.erasure.reach", slow)
    with served(tmp_path) as (client, admin):
        assert statuses(client.record_events(happenings())) == ["ACCEPTED"] * 4
        assert best(client, user_id=PERSON) == "eggs"
        receipt = admin.EraseUser(pb.EraseUserRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
        assert receipt.is_complete
        assert (receipt.num_events, receipt.num_lists) == (4, 1)
        assert hits(tmp_path) == []
        assert best(client, user_id=PERSON) == best(client, user_id="nobody knows") == "apples"
        replay = happenings(receipt.erased_time.ToMilliseconds())
        assert statuses(client.record_events(replay)) == ["REJECTED"] * 3 + ["DUPLICATE"]
        again = Event(event_type="purchase", user_id=PERSON, item_id="cheese")
        again.event_time.FromMilliseconds(receipt.erased_time.ToMilliseconds() + 1)
        assert statuses(client.record_events([again])) == ["ACCEPTED"]
        assert best(client, user_id=PERSON) == "cheese"
    with served(tmp_path) as (client, _):
        assert best(client, user_id="somebody") == "apples"


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A workspace whose log holds the person, and a backup of it beside."""
    root = tmp_path / "shop"
    with served(root) as (client, _):
        client.record_events(happenings())
        client.recommend(RecommendRequest(user_id=PERSON))
    shutil.copytree(root, tmp_path / "backup")
    return root


def test_erasing_a_logged_user_rewrites_every_file(logged: Path) -> None:
    assert {path.split("/")[0] for path in hits(logged)} == {"events", "served_lists", "state"}
    done = erase_user(Workspace(logged), PERSON, now_ms=2**42, patience=0.0)
    assert done["is_complete"]
    assert hits(logged) == []
    assert log_ids(logged) == ["e4"]


def test_the_log_is_silent_about_an_erased_user_before_anything_is_rewritten(logged: Path) -> None:
    with ExitStack() as stack:
        open_eraser(stack, Workspace(logged)).order(PERSON, 2**42)
    assert log_ids(logged) == ["e4"]
    assert EventLog(Workspace(logged).events).merges().is_empty()
    resume_erasures(Workspace(logged))
    pending = [path for path in hits(logged) if path.startswith("privacy/pending/")]
    assert hits(logged) == pending, "only the order itself, until the store was asked too"


def test_a_crash_after_the_order_is_mended_by_the_next_server(logged: Path) -> None:
    with ExitStack() as stack:
        open_eraser(stack, Workspace(logged)).order(PERSON, 2**42)
    resume_erasures(Workspace(logged))
    with served(logged) as (client, _):
        assert best(client, user_id="somebody") == "apples"
        until = time.monotonic() + PATIENCE_SECONDS
        while hits(logged) and time.monotonic() < until:
            time.sleep(0.02)
    assert hits(logged) == []


def _tear(logged: Path) -> None:
    for file in (logged / "events").glob("day=*/*.parquet"):
        file.write_bytes(f"PAR1 {PERSON}, and no table".encode())


def test_a_damaged_file_of_the_log_keeps_nobody_in_it(logged: Path) -> None:
    _tear(logged)
    with capture_logs() as said:
        assert erase_user(Workspace(logged), PERSON, now_ms=2**42, patience=0.0)["is_complete"]
    assert "a file of the event log is damaged and set aside; ingest it from a backup" in {
        line["event"] for line in said
    }
    assert hits(logged) == []


def test_a_server_starts_on_a_damaged_log_though_an_erasure_is_due(logged: Path) -> None:
    with ExitStack() as stack:
        open_eraser(stack, Workspace(logged)).order(PERSON, 2**42)
    _tear(logged)
    resume_erasures(Workspace(logged))
    assert hits(logged) == [path for path in hits(logged) if path.startswith("privacy/pending/")]


def test_a_damaged_table_is_named(logged: Path) -> None:
    file = next((logged / "served_lists").rglob("*.parquet"))
    file.write_bytes(b"PAR1 and no table")
    with pytest.raises(DataError, match=f"{file.name} is damaged; restore it"):
        erase_user(Workspace(logged), PERSON, now_ms=2**42, patience=0.0)


def test_a_restored_backup_does_not_bring_an_erased_user_back(logged: Path) -> None:
    erase_user(Workspace(logged), PERSON, now_ms=2**42, patience=0.0)
    shutil.copytree(logged.parent / "backup", logged, dirs_exist_ok=True)
    assert hits(logged)
    assert log_ids(logged) == ["e4"]
    resume_erasures(Workspace(logged))
    assert hits(logged) == []


def test_an_export_holds_what_is_known_in_the_log_the_buffer_the_lists_and_the_store(tmp_path: Path) -> None:
    with served(tmp_path) as (client, admin):
        client.record_events(happenings())
        client.recommend(RecommendRequest(user_id=PERSON))
        admin.SetProfiling(
            pb.SetProfilingRequest(user_id="other", do_not_profile=True), timeout=PATIENCE_SECONDS
        )
        parts = admin.ExportUser(pb.ExportUserRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
        lines = [json.loads(line) for part in parts for line in part.lines]
    kinds = pl.Series([line["kind"] for line in lines]).value_counts()
    assert dict(kinds.iter_rows()) == {"profile": 2, "event": 3, "list": 1, "state": 2, "origin": 1}
    assert {line["event_id"] for line in lines if line["kind"] == "event"} == {"e1", "e2", "e3"}


def test_whoever_objects_is_answered_as_nobody_and_counts_for_nobody(tmp_path: Path) -> None:
    with served(tmp_path) as (client, admin):
        client.record_events(happenings())
        admin.SetProfiling(
            pb.SetProfilingRequest(user_id=PERSON, do_not_profile=True), timeout=PATIENCE_SECONDS
        )
        answer = client.recommend(RecommendRequest(user_id=PERSON))
        assert (answer.results[0].item_id, list(answer.degraded_reasons)) == ("apples", ["do_not_profile"])
        event = Event(event_id="later", event_type="purchase", user_id=PERSON, item_id="cheese")
        assert statuses(client.record_events([event])) == ["ACCEPTED"]
        admin.SetProfiling(pb.SetProfilingRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
        assert best(client, user_id=PERSON) == "apples", "what came meanwhile is not remembered"
    later = EventLog(Workspace(tmp_path).events).scan().filter(pl.col(EVENT_ID) == "later").collect()
    assert later["user_id"][0].startswith("\x1fanonymous:")


def test_nobody_named_is_refused_in_a_stream_too(tmp_path: Path) -> None:
    with served(tmp_path) as (_, admin):
        with pytest.raises(grpc.RpcError) as refused:
            list(admin.ExportUser(pb.ExportUserRequest(), timeout=PATIENCE_SECONDS))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as refused:
            admin.EraseUser(pb.EraseUserRequest(), timeout=PATIENCE_SECONDS)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_with_pseudonyms_no_id_of_a_person_is_kept(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text("[privacy]\npseudonymise = true\n")
    events = happenings()
    events[0].ClearField("session_id")
    with served(tmp_path) as (client, admin):
        client.record_events(events)
        assert best(client, user_id=PERSON) == "eggs"
        parts = admin.ExportUser(pb.ExportUserRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
        assert sum(len(part.lines) for part in parts) > 2
        assert hits(tmp_path) == []
    assert hits(tmp_path) == []


def test_an_export_tells_what_the_store_remembers_beside_states() -> None:
    async def scenario(url: str) -> list[str]:
        store = StateStore(connect(url, int(PATIENCE_SECONDS * 1000)), "t", StateConfig(), source="events/0")
        await store.apply(PERSON, [BufferedEvent(4, make_event("4"))])
        await store.learn_origins([(PERSON, VISITOR_PREFIX + VISITOR)])
        lines = await remembered(store, (PERSON, VISITOR_PREFIX + VISITOR))
        await store.close()
        return lines

    with embedded_store() as url:
        lines = [json.loads(line) for line in asyncio.run(scenario(url))]
    assert lines[1:] == [
        {"kind": "origin", "id": PERSON, "first_known_as": VISITOR},
        {"kind": "progress", "id": PERSON, "sources": {"events/0": 4}},
    ]
    assert lines[0]["kind"] == "state"


def test_nobody_is_erased_up_to_a_time_to_come_or_where_there_is_no_shop(tmp_path: Path) -> None:
    words = ["erase", PERSON, "--workspace"]
    future = CliRunner().invoke(users, [*words, str(tmp_path), "--at", "2999-01-01"])
    assert "expected a time up to now" in str(future.exception)
    nowhere = CliRunner().invoke(users, [*words, str(tmp_path / "none")])
    assert "there is no workspace" in str(nowhere.exception)
    assert not list(tmp_path.iterdir())
