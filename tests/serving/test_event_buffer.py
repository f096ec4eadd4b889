"""Tests of the durable buffer."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

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
