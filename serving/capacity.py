"""How much memory a workspace's model takes, and how that grows with items and users.

The model is loaded as a server process loads it, and what it holds is added up part by part: so the figures
are of this catalogue, these settings and these shoppers, and growing them in proportion is the only guess.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from recsys.config import StateConfig
from recsys.event_log import EventLog
from recsys.log_presence import require_events
from recsys.schema import USER_ID
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.blocking_cluster import BlockingClient
from serving.embedded_store import embedded_store
from serving.footprint import Footprint, footprints
from serving.loading import load_pipeline, load_states, load_text_reader, log_end_ms, warm_up
from serving.state_store import StateStore
from serving.store_clients import connect, connect_blocking
from serving.threads import one_thread

MILLION = 1_000_000
_SAMPLE = 5_000
_TIMEOUT_MS = 10_000
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Capacity:
    """What was found; bytes."""

    model_version: str
    num_items: int
    parts: dict[str, Footprint]
    """What grows with the items, for the items that there are."""
    program: int
    """What all processes share however many items there are: the libraries' code."""
    worker: int
    """What a process has for itself however many items there are: objects, the encoder, the forest."""
    num_users: int
    """Users whose states were put into a store."""
    user: float
    """What the store takes per user, on average."""
    num_all_users: int
    """Users whom the log knows."""

    @property
    def shared_per_million_items(self) -> float:
        """In memory once."""
        return sum(part.shared for part in self.parts.values()) * MILLION / max(self.num_items, 1)

    @property
    def private_per_million_items(self) -> float:
        """In every server process."""
        return sum(part.private for part in self.parts.values()) * MILLION / max(self.num_items, 1)

    @property
    def per_million_users(self) -> float:
        """In the store."""
        return self.user * MILLION

    def of(self, num_items: int, num_users: int, num_workers: int) -> float:
        """Everything that a server of a size takes.

        Args:
            num_items: Items of the catalogue.
            num_users: Users with a state.
            num_workers: Server processes on one machine.
        """
        private = self.worker + self.private_per_million_items * num_items / MILLION
        shared = self.shared_per_million_items * num_items / MILLION
        return num_workers * private + self.program + shared + self.user * num_users


def measure_capacity(workspace: Workspace) -> Capacity:
    """Load a workspace's stable model, and a sample of its users into a store of their own.

    Raises:
        BundleError: No model has been trained, or it does not verify.
        DataError: The event log is damaged, or there are no events.
        StoreError: The embedded store does not start.
    """
    one_thread()
    pipeline = load_pipeline(workspace)
    require_events(workspace)
    warm_up(pipeline, log_end_ms(workspace))
    reader = load_text_reader(workspace, pipeline.version, [pipeline])
    parts = footprints(pipeline)
    own, of_files = _resident("RssAnon"), _resident("RssFile")
    del reader  # it was in memory with the rest
    num_users, user = store_bytes(load_states(workspace, pipeline), pipeline.config.state)
    return Capacity(
        model_version=pipeline.version,
        num_items=len(pipeline.bundle.parts.catalogue),
        parts=parts,
        program=max(of_files - sum(part.shared for part in parts.values()), 0),
        worker=max(own - sum(part.private for part in parts.values()), 0),
        num_users=num_users,
        user=user,
        num_all_users=EventLog(workspace.events).scan().select(pl.col(USER_ID).n_unique()).collect().item(),
    )


def store_bytes(states: Iterable[tuple[str, UserState]], config: StateConfig) -> tuple[int, float]:
    """Put the first 5,000 states into a store; how many there are, and the bytes that it took for each.

    Raises:
        StoreError: The embedded store does not start or does not answer.
    """
    with embedded_store() as url:
        num_users = asyncio.run(_fill(url, islice(states, _SAMPLE), config))
        client = connect_blocking(url, _TIMEOUT_MS)
        try:
            return num_users, _used(client) / max(num_users, 1)
        finally:
            client.close()


async def _fill(url: str, states: Iterable[tuple[str, UserState]], config: StateConfig) -> int:
    store = StateStore(connect(url, _TIMEOUT_MS), "capacity", config)
    try:
        return await store.load(states, "a sample")
    finally:
        await store.close()


def _used(client: BlockingClient) -> int:
    """What all states take, each with its key and its place in the store's table."""
    asking: Any = client.pipeline(transaction=False)
    for key in client.scan_iter("*:u:*", count=1_000):
        asking.memory_usage(key, samples=0)
    return int(sum(asking.execute()))


def _resident(kind: str) -> int:
    """What this process has in memory, in bytes: ``RssAnon`` for itself, ``RssFile`` of files."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))
