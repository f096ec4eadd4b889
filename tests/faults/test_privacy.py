"""Erasure and silence of logs, with real processes: nobody who was erased is found anywhere again."""

import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import redis

from recsys.event_log import EventLog
from recsys.schema import USER_ID
from recsys.v1 import admin_service_pb2 as pb
from recsys.v1.admin_service_pb2_grpc import AdminServiceStub
from recsys.v1.event_service_pb2 import Event, EventStatus
from recsys.v1.experiment_service_pb2 import GetAssignmentsRequest
from recsys.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from recsys.v1.recommendation_service_pb2 import RankRequest, RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from tests.faults.conftest import Note, Serve
from tests.faults.processes import PATIENCE_SECONDS, ServerProcess, StoreProcess, store_process, until
from tests.serving.running import free_port

CANARY = "canary-4711"
PERSON, VISITOR = f"{CANARY}-person", f"{CANARY}-visitor"


def life(item_ids: list[str], time_ms: int = 0) -> list[Event]:
    """Everything that one person does, before and after the login, with the person's id in every other id."""
    first, second, third = item_ids[:3]
    events = [
        Event(event_type="view", visitor_id=VISITOR, item_id=first, session_id=f"{PERSON}-session"),
        Event(event_type="click", visitor_id=VISITOR, user_id=PERSON, item_id=second),
        Event(event_type="comment", user_id=PERSON, item_id=second, text=f"{PERSON} was here"),
        Event(event_type="purchase", user_id=PERSON, item_id=third),
    ]
    for number, event in enumerate(events):
        event.event_id = f"{PERSON}-{number}"
        if time_ms:
            event.event_time.FromMilliseconds(time_ms + number)
    return events


def on_disk(root: Path) -> list[str]:
    """Files with the canary anywhere in their bytes, free pages and journals included."""
    return [str(path.relative_to(root)) for path in root.rglob("*") if CANARY.encode() in _bytes(path)]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:  # a file that was being written has its name now
        return b""


def in_store(store: StoreProcess) -> list[bytes]:
    """Keys with the canary in their name or value."""
    with redis.Redis(port=store.port, socket_timeout=5) as client:
        keys = list(client.scan_iter(count=1000))
        return [key for key in keys if CANARY.encode() in key or CANARY.encode() in (client.dump(key) or b"")]


def ask_everything(client: Client, address: str, item_ids: list[str]) -> None:
    """Every read path that a shopper's id goes into."""
    answer = client.recommend(RecommendRequest(user_id=PERSON, page_size=2))
    client.recommend(RecommendRequest(user_id=PERSON, page_size=2, page_token=answer.next_page_token))
    client.recommend(RecommendRequest(visitor_id=VISITOR, page_size=2, query="coffee"))
    client.rank(RankRequest(user_id=PERSON, item_ids=item_ids[:5]))
    with grpc.insecure_channel(address) as channel:
        experiments = ExperimentServiceStub(channel)
        experiments.GetAssignments(GetAssignmentsRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)


def statuses(client: Client, events: list[Event]) -> set[str]:
    return {EventStatus.Name(result.status) for result in client.record_events(events)}


def test_t36_an_erased_person_is_nowhere_after_replay_restart_and_restore(
    shop: Workspace, tmp_path: Path, serve: Serve, figure: Note
) -> None:
    from recsys.tables import read_items

    item_ids = read_items(shop)["item_id"].to_list()
    admin_port, backup = free_port(), tmp_path / "backup"
    with store_process() as store:
        environment = {"RECSYS_ADMIN_PORT": str(admin_port), "RECSYS_COMPACT_EVERY": "PT1S"}

        def server(name: str) -> AbstractContextManager[ServerProcess]:
            words = ("--port=0", f"--redis={store.url}", "--clock=wall", "--workers=2")
            return serve(shop, tmp_path / name, *words, **environment)

        with server("first") as process, process.client() as client:
            assert statuses(client, life(item_ids)) == {"EVENT_STATUS_ACCEPTED"}
            ask_everything(client, process.address, item_ids)
            until(lambda: any(p.startswith("events/") for p in on_disk(shop.root)), what="compaction")
            assert statuses(client, life(item_ids)) == {"EVENT_STATUS_DUPLICATE"}
            assert in_store(store)
            shutil.copytree(shop.root, backup, ignore=shutil.ignore_patterns(".*"))
            started = time.monotonic()
            with grpc.insecure_channel(f"127.0.0.1:{admin_port}") as channel:
                admin = AdminServiceStub(channel)
                receipt = admin.EraseUser(pb.EraseUserRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
                seconds = time.monotonic() - started
                assert receipt.is_complete
                assert (on_disk(shop.root), in_store(store)) == ([], [])
                left = admin.ExportUser(pb.ExportUserRequest(user_id=PERSON), timeout=PATIENCE_SECONDS)
                assert sum(len(part.lines) for part in left) == 1  # that there is no objection
            erased_ms = receipt.erased_time.ToMilliseconds()
            assert statuses(client, life(item_ids, erased_ms - 10)) == {"EVENT_STATUS_REJECTED"}
            assert (on_disk(shop.root), in_store(store)) == ([], [])
        shutil.copytree(backup, shop.root, dirs_exist_ok=True)  # a backup of before the erasure
        assert on_disk(shop.root)
        people = EventLog(shop.events).scan().select(USER_ID).collect()[USER_ID]
        assert PERSON not in people.to_list(), "nobody reads an erased person, rewritten or not"
        with server("second") as process, process.client() as client:
            assert (on_disk(shop.root), in_store(store)) == ([], [])
            figure("T36", "hits after erasure, replay, restart and restore", 0, "hits", "0")
            figure("T36", "until the receipt, with everything rewritten", seconds, "s", "")
            assert statuses(client, life(item_ids, erased_ms + 1)) == {"EVENT_STATUS_ACCEPTED"}
            assert client.recommend(RecommendRequest(user_id=PERSON)).results


def test_t36_no_log_line_names_anybody(shop: Workspace, tmp_path: Path, serve: Serve, figure: Note) -> None:
    from recsys.tables import read_items

    item_ids = read_items(shop)["item_id"].to_list()
    admin_port = free_port()
    environment = {
        "RECSYS_ADMIN_PORT": str(admin_port),
        "RECSYS_ACCESS_LOG_SAMPLE": "1",
        "RECSYS_LOG_LEVEL": "DEBUG",
    }
    with serve(shop, tmp_path / "server", **environment) as process, process.client() as client:
        client.record_events(life(item_ids))
        ask_everything(client, process.address, item_ids)
        with grpc.insecure_channel(f"127.0.0.1:{admin_port}") as channel:
            admin, seconds = AdminServiceStub(channel), PATIENCE_SECONDS
            admin.DiagnoseUser(pb.DiagnoseUserRequest(user_id=PERSON), timeout=seconds)
            admin.SetProfiling(pb.SetProfilingRequest(user_id=PERSON, do_not_profile=True), timeout=seconds)
            list(admin.ExportUser(pb.ExportUserRequest(user_id=PERSON), timeout=seconds))
            admin.EraseUser(pb.EraseUserRequest(user_id=PERSON), timeout=seconds)
        for bad in (f"{PERSON}\x00", PERSON * 20, f"\x1f{PERSON}"):
            results = client.record_events([Event(event_type=PERSON, user_id=bad, item_id=PERSON)])
            assert results[0].reason
    lines = (process.out + process.err).splitlines()
    assert len(lines) > 10
    assert not [line for line in lines if CANARY in line]
    figure("T36", "canary ids in the server's log, over all methods", 0, "hits", "0")
