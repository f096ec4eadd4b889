"""Tests of batches that are committed together."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from recsys.errors import IntakeError
from serving.event_buffer import SqliteEventBuffer
from tests.serving.small_shop import make_event


def test_concurrent_callers_each_get_their_own_numbers(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: buffer.append([make_event(f"e{n}")]).result(), range(200)))
        by_id = {event.event.event_id: event.sequence for event in buffer.since(0, 1000)}
        assert sorted(by_id.values()) == list(range(1, 201))
        assert results == [[by_id[f"e{n}"]] for n in range(200)]


def test_a_batch_that_cannot_be_stored_says_so_and_takes_no_other_with_it(tmp_path: Path) -> None:
    with closing(SqliteEventBuffer(tmp_path / "b.sqlite")) as buffer:
        with buffer._file._lock:  # all of them wait for one commit
            held = buffer.append([make_event("held")])
            batches = [[make_event("a")], [make_event("b"), make_event("bad", time_ms=1 << 70)]]
            futures = [buffer.append(batch) for batch in (*batches, [make_event("c")])]
        held.result()
        assert futures[0].result() == [2]
        with pytest.raises(OverflowError):
            futures[1].result()
        assert futures[2].result() == [3]
        assert [event.event.event_id for event in buffer.since(0, 10)] == ["held", "a", "c"]


def test_a_closed_buffer_refuses(tmp_path: Path) -> None:
    buffer = SqliteEventBuffer(tmp_path / "b.sqlite")
    buffer.close()
    buffer.close()
    with pytest.raises(IntakeError, match="closed"):
        buffer.append([make_event()]).result()
