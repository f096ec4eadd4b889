"""Tests of the durable buffer."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from recsys.errors import IntakeError
from recsys.schema import DAY_MS
from serving.event_buffer import SqliteEventBuffer
from tests.serving.small_shop import NOON, make_event

WRITER = """
import os, signal, sys
from pathlib import Path
from serving.event_buffer import SqliteEventBuffer
from tests.serving.small_shop import make_event
buffer = SqliteEventBuffer(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    buffer.append([make_event(f"e{n}")]).result()
    print(n, flush=True)
buffer.append([make_event("not acknowledged")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_sequence_numbers_ascend_and_repeated_ids_have_none(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "state" / "b.sqlite")) as buffer:
        assert buffer.append([make_event("a"), make_event("b"), make_event("a")]).result() == [1, 2, None]
        repeated, new = buffer.append([make_event("b"), make_event("c")]).result()
        assert repeated is None
        assert new is not None
        assert new > 2
        assert [e.event.event_id for e in buffer.since(0, 10)] == ["a", "b", "c"]
        assert [e.sequence for e in buffer.since(1, 1)] == [2]


def test_an_event_comes_back_as_it_was(tmp_path: Path) -> None:
    event = make_event("a", item_id="nul\x00and ünïcode")
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([event]).result()
        assert buffer.since(0, 1)[0].event == event


def test_concurrent_callers_each_get_their_own_numbers(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: buffer.append([make_event(f"e{n}")]).result(), range(200)))
        by_id = {event.event.event_id: event.sequence for event in buffer.since(0, 1000)}
        assert sorted(by_id.values()) == list(range(1, 201))
        assert results == [[by_id[f"e{n}"]] for n in range(200)]


def test_a_batch_that_cannot_be_stored_says_so_and_takes_no_other_with_it(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        with buffer._lock:  # all of them wait for one commit
            held = buffer.append([make_event("held")])
            batches = [[make_event("a")], [make_event("b"), make_event("bad", time_ms=1 << 70)]]
            futures = [buffer.append(batch) for batch in (*batches, [make_event("c")])]
        held.result()
        assert futures[0].result() == [2]
        with pytest.raises(OverflowError):
            futures[1].result()
        assert futures[2].result() == [3]
        assert [event.event.event_id for event in buffer.since(0, 10)] == ["held", "a", "c"]


def test_acknowledged_events_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "b.sqlite"
    child = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), "20"], check=False, stdout=subprocess.PIPE, text=True
    )
    acknowledged = {f"e{n}" for n in child.stdout.split()}
    assert (child.returncode, len(acknowledged)) == (-9, 20)
    with closing(SqliteEventBuffer(path)) as buffer:
        kept = {event.event.event_id for event in buffer.since(0, 100)}
    assert acknowledged <= kept <= acknowledged | {"not acknowledged"}


def test_a_new_start_goes_on_counting_and_keeps_its_identity(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        identity = buffer.buffer_id
        buffer.append([make_event("a")]).result()
        buffer.claim(1)
        buffer.release(1)
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        assert buffer.buffer_id == identity
        assert buffer.append([make_event("b")]).result() == [2]


def test_a_claim_stays_the_same_until_it_is_released(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("a"), make_event("b")]).result()
        assert buffer.claim(through=1) == (1, 1)
        buffer.append([make_event("c")]).result()
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        assert buffer.claim(through=3) == (1, 1)
        buffer.release(1)
        assert buffer.claim(through=3) == (2, 3)
        buffer.release(3)
        assert buffer.claim(through=3) is None


def test_ids_are_remembered_after_their_events_left_but_not_for_ever(tmp_path: Path) -> None:
    late = NOON + 31 * DAY_MS
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("old")]).result()
        buffer.claim(1)
        buffer.release(1)
        assert buffer.append([make_event("old")]).result() == [None]
        buffer.append([make_event("new", time_ms=late)]).result()
        buffer.claim(2)
        buffer.release(2)
        assert buffer.append([make_event("old"), make_event("new")]).result() == [3, None]


def test_the_latest_time_is_the_latest_effective_one(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        assert buffer.latest_ms() == 0
        buffer.append([make_event("a", time_ms=NOON + 5), make_event("b")]).result()
        assert buffer.latest_ms() == NOON + 5


def test_a_closed_buffer_refuses(tmp_path: Path) -> None:
    buffer = SqliteEventBuffer(tmp_path / "b.sqlite")
    buffer.close()
    buffer.close()
    with pytest.raises(IntakeError, match="closed"):
        buffer.append([make_event()]).result()


def test_a_full_disk_refuses_and_space_mends_it(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        buffer.append([make_event("a")]).result()
        with closing(sqlite3.connect(tmp_path / "b.sqlite")) as other:
            pages = other.execute("PRAGMA page_count").fetchone()[0]
        buffer._connection.execute(f"PRAGMA max_page_count = {pages}")
        too_much = [make_event(f"x{n}", item_id="i" * 200) for n in range(200)]
        with pytest.raises(IntakeError, match="full"):
            buffer.append(too_much).result()
        assert [e.event.event_id for e in buffer.since(0, 10)] == ["a"]
        buffer._connection.execute("PRAGMA max_page_count = 1000000")
        assert buffer.append(too_much).result()[0] == 2


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(IntakeError, match="writable"):
        SqliteEventBuffer(tmp_path / "state" / "b.sqlite")


def test_a_file_that_is_no_buffer_is_reported(tmp_path: Path) -> None:
    (tmp_path / "b.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(IntakeError, match="does not open"):
        SqliteEventBuffer(tmp_path / "b.sqlite")
