"""Acknowledged events survive: kills at every point, torn and flipped bytes, full and broken disks."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest
import structlog

from recsys.errors import ConfigError
from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.schema import EVENT_ID, ITEM_ID, USER_ID
from recsys.v1.event_service_pb2 import Event, EventResult, EventStatus
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.client import Client
from serving.compaction import settle
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.health import check
from tests.faults.conftest import Note, Serve
from tests.faults.intake_writer import BATCH, event
from tests.faults.network import needs_namespaces, small_disk
from tests.faults.processes import ServerProcess, server_process, until
from tests.faults.shim import build, needs_compiler

BATCHES = 4
"""Of each run."""
POINTS = (
    "buffer-stored",
    "buffer-committed",
    "compaction-claimed",
    "compaction-appended",
    "compaction-released",
    "log-written",
    "log-committed",
    "atomic-written",
    "atomic-renamed",
)


@contextmanager
def writer() -> Iterator[Any]:
    """Orders for ``intake_writer``."""
    command = [sys.executable, "-m", "tests.faults.intake_writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pipe_in, pipe_out = process.stdin, process.stdout

        def order(**wanted: object) -> dict[str, Any]:
            pipe_in.write(json.dumps(wanted) + "\n")
            pipe_in.flush()
            return dict(json.loads(pipe_out.readline()))

        yield order
        pipe_in.close()


def logged(workspace: Workspace) -> list[tuple[str, str, str]]:
    """Every event of the log, after what was left in the buffer has been moved there."""
    settle(workspace)
    return EventLog(workspace.events).scan().select(EVENT_ID, USER_ID, ITEM_ID).collect().rows()


def test_t02_no_kill_loses_an_acknowledged_event_or_counts_one_twice(tmp_path: Path, figure: Note) -> None:
    chance, by_point, num_acknowledged = random.Random(2), dict.fromkeys((*POINTS, ""), 0), 0
    with writer() as order:
        for shop in range(7):  # each outlives 27 kills
            root, acknowledged = tmp_path / str(shop), set[int]()
            for round_ in range(28):
                point = POINTS[(shop * 28 + round_) % len(POINTS)] if round_ % 5 else ""
                number = chance.randint(1, 3) if point.startswith(("buffer", "atomic")) else 1
                told = order(
                    root=str(root),
                    first=round_ * BATCHES * BATCH,
                    batches=BATCHES,
                    fault=f"{point}:{number}" if point else "",
                    kill_after=60 if point else chance.uniform(0.0, 0.05),
                )
                assert told["code"] in {0, EXIT_CODE, -9}
                acknowledged |= set(told["acknowledged"])
                by_point[point] += told["code"] != 0
            rows = logged(Workspace(root))
            ids = [event_id for event_id, _, _ in rows]
            assert {f"e{number}" for number in acknowledged} <= set(ids)
            assert len(ids) == len(set(ids))
            assert all(event(int(event_id[1:])).user_id == user for event_id, user, _ in rows)
            num_acknowledged += len(acknowledged)
    assert sum(by_point.values()) >= 180
    assert all(by_point.values())
    figure("T2", "kills of a light writer", sum(by_point.values()), "", ">= 180")
    figure("T2", "acknowledged events, all there once", num_acknowledged, "", "all")


def purchase(number: int, user_id: str = "") -> Event:
    """A purchase over the wire; ids repeat with the number."""
    return Event(
        event_id=f"s{number}",
        event_type="purchase",
        user_id=user_id or f"shopper-{number % 3}",
        item_id=f"coffee-{number % 6}",
    )


def accepted(results: Sequence[EventResult]) -> list[str]:
    return [one.event_id for one in results if one.status == EventStatus.EVENT_STATUS_ACCEPTED]


def send_until_it_dies(server: ServerProcess, first: int) -> set[str]:
    """Record events, a few at a time, until the server is gone; the ids that it acknowledged."""
    acknowledged: set[str] = set()
    with server.client(5) as client:
        for start in range(first, first + 9000, 3):
            if not server.is_running():
                break
            with suppress(grpc.RpcError):  # it is gone, or too busy: whether they are stored is not known
                acknowledged |= set(accepted(client.record_events([purchase(start + i) for i in range(3)])))
    return acknowledged


@pytest.mark.parametrize("part", range(4))
def test_t02_kills_of_the_whole_server_lose_nothing(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note, part: int
) -> None:
    chance, acknowledged = random.Random(part), set[str]()
    for kill in range(5):
        point = ("buffer-stored", "buffer-committed", "state-applied", "", "")[kill]
        fault = f"{point}:{chance.randint(1, 8)}" if point else ""
        with serve(shop, tmp_path / str(kill), wait=False, RECSYS_FAULT=fault) as server:
            if not server.becomes_ready():  # it died of what it took over
                continue
            if not point:
                threading.Timer(chance.uniform(0.05, 0.4), lambda: server.send(signal.SIGKILL)).start()
            acknowledged |= send_until_it_dies(server, 10_000 * kill)
            assert server.wait() in {EXIT_CODE, -signal.SIGKILL}
    ids = [event_id for event_id, _, _ in logged(shop)]
    assert acknowledged
    assert acknowledged <= set(ids)
    assert len(ids) == len(set(ids))
    figure("T2", f"kills of the whole server, shop {part + 1}", 5, "", "20 in all")


def crashed(directory: Path, num_commits: int = 12) -> Path:
    """Files of a buffer whose process died after some acknowledged commits of one event each."""
    living, dead = directory / "living" / BUFFER_FILE, directory / "dead" / "state"
    with closing(SqliteEventBuffer(living)) as buffer:
        for number in range(num_commits):
            buffer.append([event(number)]).result()
        shutil.copytree(living.parent, dead)  # as the disk was at the moment
    return dead / BUFFER_FILE


def ids_in(file: Path) -> list[str]:
    with closing(SqliteEventBuffer(file)) as buffer:
        return [str(buffered.event.event_id) for buffered in buffer.since(0, 1000)]


def test_t03_a_torn_tail_was_never_acknowledged_and_a_flipped_byte_is_reported(
    tmp_path: Path, figure: Note, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stdout))
    everything = [f"e{number}" for number in range(12)]
    torn = crashed(tmp_path / "torn")
    log = torn.with_name(f"{BUFFER_FILE}-wal")
    os.truncate(log, log.stat().st_size - 100)  # in the middle of writing the last commit
    assert ids_in(torn) == everything[:-1]
    assert "damaged" not in capsys.readouterr().out
    whole = crashed(tmp_path / "whole")
    assert ids_in(whole) == everything
    assert "damaged" not in capsys.readouterr().out
    flipped = crashed(tmp_path / "flipped")
    log = flipped.with_name(f"{BUFFER_FILE}-wal")
    raw = bytearray(log.read_bytes())
    raw[len(raw) * 2 // 3] ^= 1
    log.write_bytes(raw)
    kept = ids_in(flipped)
    assert kept == everything[: len(kept)]
    assert 0 < len(kept) < 11
    assert "the event buffer is damaged; commits of events are lost" in capsys.readouterr().out
    structlog.reset_defaults()
    figure("T3", "torn tails told from damage, and damage reported", 1, "", "1")
    figure("T3", "of 12 commits, read after a byte flipped at two thirds", len(kept), "", "")


def test_t03_a_flipped_byte_in_a_file_of_the_log_is_told_and_the_other_files_are_read(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    before = EventLog(shop.events).scan().collect().height
    file = sorted(shop.events.glob("day=*/*.parquet"))[3]
    own = pl.scan_parquet(file).select(pl.len()).collect().item()
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    name = str(file.relative_to(shop.events))
    with serve(shop, tmp_path / "server") as server, server.client() as client:
        assert len(client.recommend(RecommendRequest(user_id="coffee-user1", page_size=5)).results) == 5
        said = [line for line in server.err.splitlines() if "is damaged and set aside" in line]
    assert len(said) == 1
    assert name in said[0]
    assert EventLog(shop.events).scan().collect().height == before - own
    assert (shop.events / "_damaged" / name).read_bytes() == raw
    figure("T3", "files of the log with a flipped byte told at the start", 1, "", "1")
    figure("T3", "events of the log's other files that are read then", before - own, "", "all")


@needs_namespaces
def test_t04_a_full_disk_refuses_events_and_nothing_else(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    with small_disk(shop.state, "4m"), serve(shop, tmp_path / "server") as server, server.client() as client:
        assert accepted(client.record_events([purchase(0)])) == ["s0"]
        ballast = shop.state / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"0" * 4096)
                file.flush()
        acknowledged, refused = {"s0"}, None
        for number in range(1, 400):
            try:
                acknowledged |= set(accepted(client.record_events([purchase(number)])))
            except grpc.RpcError as error:
                refused = error
                break
        assert refused is not None
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "room" in str(refused.details())
        for number in range(20):
            assert len(client.recommend(RecommendRequest(user_id=f"coffee-user{number % 6}")).results)
        ballast.unlink()
        recovered = until(lambda: records(client, purchase(1000)), what="room for events")
        assert accepted(client.record_events([purchase(1001)])) == ["s1001"]
        acknowledged |= {"s1000", "s1001"}
        server.kill()
        ids = [event_id for event_id, _, _ in logged(shop)]
    assert acknowledged <= set(ids)
    figure("T4", "events are taken again after room was made", recovered, "s", "<= 2")


def records(client: Client, event: Event) -> bool:
    """Whether an event is taken now."""
    try:
        return bool(client.record_events([event]))
    except grpc.RpcError:
        return False


@needs_compiler
def test_t05_after_a_failed_fsync_nothing_is_acknowledged_until_a_restart(
    shop: Workspace, tmp_path: Path, figure: Note
) -> None:
    flag = tmp_path / "eio"
    shim: dict[str, Any] = {"LD_PRELOAD": str(build(tmp_path)), "RECSYS_SHIM_EIO": str(flag)}
    with server_process(shop, tmp_path / "one", **shim) as server, server.client() as client:
        acknowledged = set(accepted(client.record_events([purchase(number) for number in range(5)])))
        flag.touch()
        codes = set()
        for number in range(100, 105):
            with pytest.raises(grpc.RpcError) as caught:
                client.record_events([purchase(number)])
            codes.add(caught.value.code())
            flag.unlink(missing_ok=True)  # the next fsync would say that all is well
        assert codes == {grpc.StatusCode.UNAVAILABLE}
        seconds = until(lambda: not serves_events(server), what="NOT_SERVING")
        assert check(server.address, "readiness") == "SERVING"
        assert len(client.recommend(RecommendRequest(user_id="coffee-user1")).results)
        server.kill()
    with server_process(shop, tmp_path / "two", **shim) as server, server.client() as client:
        acknowledged |= set(accepted(client.record_events([purchase(200)])))
        assert serves_events(server)
        server.kill()
    assert acknowledged <= {event_id for event_id, _, _ in logged(shop)}
    figure("T5", "the event service is NOT_SERVING after", seconds, "s", "<= 1")


def serves_events(server: ServerProcess) -> bool:
    try:
        return check(server.address, "recsys.v1.EventService") == "SERVING"
    except ConfigError:
        return False


def test_t26_repeated_and_reordered_events_count_once(
    shop: Workspace, serve: Serve, tmp_path: Path, figure: Note
) -> None:
    events = [purchase(number) for number in range(60)]
    chance, statuses = random.Random(26), Counter[str]()
    with serve(shop, tmp_path / "server") as server, server.client() as client, server.client(0.002) as hasty:
        for start in range(0, 60, 6):
            batch = events[start : start + 6]
            with suppress(grpc.RpcError):  # DEADLINE_EXCEEDED tells nothing: it may be stored or not
                hasty.record_events(batch)
            resent = [*batch, *chance.sample(events[: start + 6], 4)]
            chance.shuffle(resent)
            results = client.record_events(resent)
            statuses.update(EventStatus.Name(one.status) for one in results)
            assert [one.event_id for one in results] == [one.event_id for one in resent]
        server.send(signal.SIGTERM)
        assert server.wait(15) == 0
    ids = [event_id for event_id, user_id, _ in logged(shop) if user_id.startswith("shopper-")]
    assert sorted(ids) == sorted(one.event_id for one in events)
    assert set(statuses) <= {"EVENT_STATUS_ACCEPTED", "EVENT_STATUS_DUPLICATE"}
    figure("T26", "repetitions told as such", statuses["EVENT_STATUS_DUPLICATE"], "", ">= 40")
    figure("T26", "events counted, of 60 sent several times", len(ids), "", "60")
