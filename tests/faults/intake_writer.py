"""A light process that takes events in as a server does, to be killed: buffer, compaction, states, nothing
else.

``python -m tests.faults.intake_writer`` reads orders as JSON lines: on which directory, where to end
(``RECSYS_FAULT``), which events to append, and when to kill it from outside. Each order is carried out by a
fork; the answer tells which events it acknowledged, and how it ended.
"""

import json
import os
import select
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from recsys.event_log import EventLog
from recsys.fault_point import arm
from recsys.workspace import Workspace
from serving.compaction import compact, settle
from serving.event import Event
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer

ITEMS = 5
USERS = 3
BATCH = 3
DAY_MS = 86_400_000
NOON_MS = 19_000 * DAY_MS


def event(number: int) -> Event:
    """The event of a number; many share a user and an item, so that effects could double."""
    time_ms = NOON_MS + number
    return Event(f"e{number}", "purchase", f"u{number % USERS}", f"i{number % ITEMS}", time_ms, time_ms)


def take_in(root: Path, first: int, num_batches: int, acknowledge: int) -> None:
    """Settle what an earlier run left, then append batches from two threads and compact in between."""
    workspace = Workspace(root)
    settle(workspace)
    with closing(SqliteEventBuffer(workspace.state / BUFFER_FILE)) as buffer:
        log = EventLog(workspace.events)

        def append(start: int) -> None:
            for batch in range(start, num_batches, 2):
                numbers = range(first + batch * BATCH, first + (batch + 1) * BATCH)
                buffer.append([event(number) for number in numbers]).result()
                os.write(acknowledge, "".join(f"{number}\n" for number in numbers).encode())

        threads = [threading.Thread(target=append, args=(start,)) for start in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        compact(buffer, log, through=sys.maxsize)


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order in a fork."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        code = 1
        try:
            os.close(reader)
            arm(order["fault"])
            take_in(Path(order["root"]), order["first"], order["batches"], writer)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    acknowledged, deadline = b"", time.monotonic() + order["kill_after"]
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, min(deadline - time.monotonic(), 60)))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        elif chunk := os.read(reader, 1 << 16):
            acknowledged += chunk
        else:
            break
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    whole = acknowledged[: acknowledged.rfind(b"\n") + 1]
    return {"acknowledged": [int(line) for line in whole.split()], "code": code}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
