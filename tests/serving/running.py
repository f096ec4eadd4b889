"""Starts a real server in a thread of its own and stops it again."""

import asyncio
import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from recsys.user_state import UserState
from recsys.v1.recommendation_service_pb2 import RecommendRequest
from recsys.workspace import Workspace
from serving.bootstrap import serving
from serving.client import Client
from serving.ranking_pipeline import RankingPipeline
from serving.settings import load_settings
from tests.serving.small_shop import SmallPipeline

PATIENCE_SECONDS = 30.0
"""How long tests wait for what takes milliseconds on an idle machine."""


@contextmanager
def running_server(
    root: Path,
    pipeline: RankingPipeline | None = None,
    states: Iterable[tuple[str, UserState]] = (),
    **settings: object,
) -> Iterator[str]:
    """Serve a workspace on any free port of the loopback address, and yield ``host:port``."""
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    defaults = {
        "port": 0,
        "state_timeout_ms": 10_000,
        "blurb_timeout_ms": 10_000,
        "apply_timeout_ms": 10_000,
        "grace_seconds": 0.5,
    }
    chosen = load_settings(**(defaults | settings))

    async def serve() -> None:
        stopped = asyncio.Event()
        async with serving(Workspace(root), chosen, pipeline or SmallPipeline(), states) as port:
            started.set_result((port, asyncio.get_running_loop(), stopped))
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        port, loop, stopped = started.result(PATIENCE_SECONDS)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            loop.call_soon_threadsafe(stopped.set)
    finally:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "the server did not stop"


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def first_item(client: Client, user_id: str) -> str:
    """What a server recommends to somebody in the first place."""
    return client.recommend(RecommendRequest(user_id=user_id)).results[0].item_id
