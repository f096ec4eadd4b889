"""Whoever erases somebody, each server removes the later pages of the lists that it served."""

import asyncio
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import redis

from recsys.tombstones import Tombstones
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from serving.client import Client
from serving.embedded_store import embedded_store
from serving.erased_pages import ErasedPages
from serving.list_log import LIST_FILE, ListLog
from serving.page_store import PageStore, list_keys
from serving.store_clients import connect, connect_blocking
from tests.serving.running import PATIENCE_SECONDS, running_server
from tests.serving.small_shop import NOON
from tests.serving.test_list_log import LIST

PERSON = RecommendRequest(user_id="erased", page_size=2)
SOMEBODY = RecommendRequest(user_id="somebody", page_size=2)
TTL = timedelta(minutes=15)


def test_servers_that_learn_of_an_erasure_by_its_tombstone_remove_the_pages_of_their_lists(
    tmp_path: Path,
) -> None:
    """Two servers with lists of their own, on one store, and what they share of the workspace."""
    roots = [tmp_path / "one", tmp_path / "other"]
    for root in roots:
        root.mkdir()
    (roots[0] / "privacy").mkdir()
    (roots[1] / "privacy").symlink_to(roots[0] / "privacy")
    with ExitStack() as held:
        url = held.enter_context(embedded_store())
        store = held.enter_context(redis.Redis.from_url(url))
        clients = [
            held.enter_context(
                Client(
                    held.enter_context(running_server(root, redis_url=url)), timeout_seconds=PATIENCE_SECONDS
                )
            )
            for root in roots
        ]
        first = [client.recommend(PERSON) for client in clients]
        somebodys = clients[0].recommend(SOMEBODY)
        wait_until(store, 3)
        Tombstones(roots[0]).add(["erased"], time.time_ns() // 10**6)
        wait_until(store, 1)
        for client, page in zip(clients, first, strict=True):
            with pytest.raises(grpc.RpcError, match="expired"):
                client.recommend(
                    RecommendRequest(user_id="erased", page_size=2, page_token=page.next_page_token)
                )
        further = RecommendRequest(user_id="somebody", page_size=2, page_token=somebodys.next_page_token)
        assert clients[0].recommend(further).results


def wait_until(store: redis.Redis, num_pages: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(store.keys("recsys:*:p:*")) != num_pages:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pages_that_are_written_late_and_of_lists_that_never_came_into_the_log_go_too(tmp_path: Path) -> None:
    async def scenario(url: str) -> None:
        reader, writer = connect(url, 5000), connect_blocking(url, 5000)
        with (
            closing(ListLog(tmp_path / "state" / LIST_FILE)) as log,
            closing(PageStore(reader, writer, "t", TTL)) as pages,
        ):
            tombstones = Tombstones(tmp_path)
            watch = ErasedPages(tombstones, log, pages, lambda: NOON, TTL)
            log.add(replace(LIST, list_id="1", subject="erased"))
            log.flush()
            keys = list_keys("t", ["1", "2"])
            for key in keys:
                await reader.set(key, b"a page")
            await watch.look()
            assert await reader.exists(*keys) == 2
            tombstones.add(["erased"], NOON)
            log.add(replace(LIST, list_id="2", subject="erased"))
            log.flush()
            await watch.look()
            assert await reader.exists(*keys) == 0
            await reader.set(keys[0], b"by a process that was late")
            for _ in range(20):
                await watch.look()
            assert await reader.exists(*keys) == 0
            assert log.given_up(TTL) == ["1", "2"]
            log.given_up(-timedelta(seconds=1))
            assert log.given_up(TTL) == []
        await reader.aclose()
        writer.close()

    with embedded_store() as url:
        asyncio.run(scenario(url))
