"""A light process that erases a person as a server does, to be killed between any two steps.

``python -m tests.faults.erasure_process`` reads orders as JSON lines and carries each out in a fork: ``live``
lets a person and another live in every place that holds anything of anybody, ``erase`` erases the person,
``resume`` is what a server does when it starts. The answer tells how the fork ended.
"""

import asyncio
import json
import os
import sys
import traceback
from contextlib import AsyncExitStack, ExitStack, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import serving.erasure
from recsys.answer import ServiceLevel
from recsys.config import StateConfig
from recsys.fault_point import arm
from recsys.readers import ROW
from recsys.schema import UPDATED_TIME, USER_ID
from recsys.workspace import Workspace
from serving.compaction import settle
from serving.discretion import Discretion
from serving.erasure import Eraser, OnlineEraser, open_eraser, resume_erasures
from serving.event import VISITOR_PREFIX, Event, Merge
from serving.event_buffer import BUFFER_FILE, SqliteEventBuffer
from serving.kept_list import KeptList
from serving.list_export import export_lists
from serving.list_log import LIST_FILE, ListLog
from serving.page_store import PageStore
from serving.served_list import ServedList
from serving.state_store import StateStore
from serving.store_clients import connect, connect_blocking
from serving.visitor_link import VisitorLink

CANARY = "canary-4711"
PERSON, VISITOR = f"{CANARY}-person", f"{VISITOR_PREFIX}{CANARY}-visitor"
OTHER = "somebody"
NOON_MS = 1_512_000_000_000
ERASED_MS = NOON_MS + 1_000
DAY_MS = 86_400_000
TENANT = "default"


def events_of(user_id: str, start: int) -> list[Event]:
    """Three days of one shopper, with the shopper's id in the events' ids and texts."""
    times = [NOON_MS - day * DAY_MS for day in range(start, start + 3)]
    return [
        Event(f"{user_id}-{time}", "purchase", user_id, f"item-{time % 7}", time, time, text=f"{user_id} was")
        for time in times
    ]


def served(user_id: str, list_id: str) -> ServedList:
    return ServedList(
        list_id, NOON_MS, user_id, "home", f"{user_id}-asked", "m", "FULL", ("item-1",), (1.0,), (1.0,)
    )


def lists_of(user_id: str) -> tuple[str, str]:
    """The lists that somebody got: one was exported, one was not."""
    letter = "a" if user_id == PERSON else "b"
    return letter * 32, letter * 31 + "0"


class _Shop:
    """Everything that holds data of people, open."""

    def __init__(self, stack: AsyncExitStack, root: Path, url: str) -> None:
        self.workspace = Workspace(root)
        self.buffer = stack.enter_context(closing(SqliteEventBuffer(self.workspace.state / BUFFER_FILE)))
        self.lists = stack.enter_context(closing(ListLog(self.workspace.state / LIST_FILE)))
        reader, writer = connect(url, 10_000), connect_blocking(url, 10_000)
        stack.push_async_callback(reader.aclose)
        stack.callback(writer.close)
        self.pages = stack.enter_context(closing(PageStore(reader, writer, TENANT, timedelta(minutes=15))))
        self.states = StateStore(reader, TENANT, StateConfig(), Discretion(root))


async def live(root: Path, url: str) -> None:
    """Two people in the log, the buffer, the lists, the tables and the store."""
    workspace = Workspace(root)
    for start in (4, 0):  # the first half leaves for the log
        async with AsyncExitStack() as stack:
            shop = _Shop(stack, root, url)
            login = Merge(VISITOR, PERSON, NOON_MS - start * DAY_MS)
            before = [*events_of(PERSON, start), *events_of(VISITOR, start)]
            records: list[Event | Merge] = [*before, login, *events_of(OTHER, start)]
            shop.buffer.append(records).result()
            for user_id in (PERSON, OTHER):
                list_id = lists_of(user_id)[start == 0]
                shop.lists.add(served(user_id, list_id))
                shop.pages.keep(list_id, _kept())
            shop.lists.flush()
            for user_id in (PERSON, OTHER, VISITOR):
                await shop.states.apply(user_id, shop.buffer.of([user_id]))
            await shop.states.merge(VISITOR, VisitorLink(PERSON, 100 + 10 * start))
            if start:
                export_lists(shop.lists, workspace.served_lists)
        if start:
            settle(workspace)
    time = pl.Series(UPDATED_TIME, [NOON_MS] * 2).cast(pl.Datetime("ms", "UTC"))
    _write(workspace.users / "00000001.parquet", pl.DataFrame({USER_ID: [PERSON, OTHER]}).with_columns(time))
    rows = [json.dumps({USER_ID: one}) for one in (PERSON, OTHER)]
    _write(workspace.rejects / "events-1.parquet", pl.DataFrame({ROW: [*rows, f"{PERSON};broken"]}))


def _kept() -> KeptList:
    return KeptList(["item-1"], np.ones(1), np.ones(1, np.uint32), "m", ServiceLevel.FULL)


def _write(path: Path, table: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)


def _eraser(stack: AsyncExitStack, root: Path) -> Eraser:
    own = stack.enter_context(ExitStack())
    return open_eraser(own, Workspace(root))


async def erase(root: Path, url: str) -> None:
    """What ``EraseUser`` does."""
    async with AsyncExitStack() as stack:
        shop = _Shop(stack, root, url)
        eraser = _eraser(stack, root)
        online = OnlineEraser(eraser, shop.states, shop.pages, shop.buffer)
        _, _, is_complete = await online.erase(PERSON, ERASED_MS)
        assert is_complete


async def resume(root: Path, url: str) -> None:
    """What a server does at its start and then in the background, until nothing is pending."""
    resume_erasures(Workspace(root))
    settle(Workspace(root))
    async with AsyncExitStack() as stack:
        shop = _Shop(stack, root, url)
        eraser = _eraser(stack, root)
        running = asyncio.create_task(OnlineEraser(eraser, shop.states, shop.pages, shop.buffer).run())
        while eraser.journal.unfinished():
            await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def run(order: dict[str, Any]) -> int:
    """Carry out one order in a fork; its exit code."""
    if not (pid := os.fork()):
        code = 1
        try:
            os.dup2(2, 1)  # the log is no answer
            serving.erasure._LOOK = timedelta(milliseconds=10)
            serving.erasure.IN_FLIGHT = timedelta(0)  # no worker is in the middle of anything
            arm(order.get("fault", ""))
            act = {"live": live, "erase": erase, "resume": resume}[order["act"]]
            asyncio.run(act(Path(order["root"]), order["url"]))
            code = 0
        except Exception:  # noqa: BLE001  # the parent reads the code, whoever looks the reason
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{run(json.loads(line))}\n")
        sys.stdout.flush()
