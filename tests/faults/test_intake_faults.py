"""Acknowledged events survive: kills at every point, torn and flipped bytes, full and broken disks."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys.event_log import EventLog
from recsys.fault_point import EXIT_CODE
from recsys.schema import EVENT_ID, ITEM_ID, USER_ID
from recsys.workspace import Workspace
from serving.compaction import settle
from tests.faults.conftest import Note
from tests.faults.intake_writer import BATCH, event

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
        assert process.stdin is not None and process.stdout is not None
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
