"""Where the rest of a list waits for the client to turn the page: the RESP server, with a short time to live.

Answers do not wait for the write. One thread writes what has gathered, which takes half the time that writing
from the event loop takes; until it is written, this process reads it from memory, and another process that is
asked at once looks again for a moment. When the server is away, lists wait until too many do; then answers
have one page.
"""

import asyncio
import threading
from datetime import timedelta
from typing import cast

import redis
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from recsys.errors import StoreError
from serving.kept_list import KeptList

MAX_WAITING = 500
"""Most lists in memory while the server is away."""
GROUP_SECONDS = 0.02
"""Longest that a list waits for others before it is written with them."""

_RETRY_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.02
_LOOKS = 10

_log = structlog.get_logger(__name__)


class PageStore:
    """Keeps lists by id, under ``recsys:<tenant>:p:<list id>``."""

    def __init__(self, reader: Redis, writer: redis.Redis, tenant: str, time_to_live: timedelta) -> None:
        """Begin to write what is handed over; both clients, of one server, stay the caller's to close."""
        self._reader = reader
        self._writer = writer
        self._prefix = f"recsys:{tenant}:p:"
        self._ttl_seconds = max(1, round(time_to_live.total_seconds()))
        self._waiting: dict[str, KeptList] = {}
        self._news, self._closed = threading.Event(), threading.Event()
        self._fails = False
        self._thread = threading.Thread(target=self._write_all, name="page-store", daemon=True)
        self._thread.start()

    def keep(self, list_id: str, kept: KeptList) -> bool:
        """Hand a list over to be written; whether it was taken."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[list_id] = kept
        self._news.set()
        return True

    async def get(self, list_id: str, *, is_new: bool) -> KeptList | None:
        """A list, or ``None`` when it has expired.

        Args:
            list_id: Its id.
            is_new: Whether it may be so new that the process which ranked it is still writing it.

        Raises:
            StoreError: The server did not answer, or what it holds cannot be read.
        """
        for _ in range(_LOOKS if is_new else 1):
            if (waiting := self._waiting.get(list_id)) is not None:
                return waiting
            if (raw := await self._read(list_id)) is not None:
                return KeptList.from_bytes(raw)
            if is_new:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return None

    def close(self) -> None:
        """Write what waits and stop."""
        self._closed.set()
        self._news.set()
        self._thread.join()

    def _write_all(self) -> None:
        """Write lists in groups until ``close``; the thread's whole life."""
        while not self._closed.is_set():
            self._news.wait()
            self._closed.wait(_RETRY_SECONDS if self._fails else GROUP_SECONDS)
            self._news.clear()
            self._flush()

    def _flush(self) -> None:
        group = list(self._waiting.copy().items())
        try:
            self._write(group)
        except (RedisError, OSError) as error:
            if not self._fails:
                _log.warning("later pages wait in memory", reason=type(error).__name__)
            self._fails = True
            self._news.set()
            return
        except Exception:  # noqa: BLE001  # the thread must outlive a list that cannot be written
            _log.exception("lists have no later pages", num_lists=len(group))
        self._fails = False
        for list_id, _ in group:
            self._waiting.pop(list_id, None)

    def _write(self, group: list[tuple[str, KeptList]]) -> None:
        if len(group) == 1:
            [(list_id, kept)] = group
            self._writer.set(self._prefix + list_id, kept.to_bytes(), ex=self._ttl_seconds)
            return
        with self._writer.pipeline(transaction=False) as pipe:
            for list_id, kept in group:
                pipe.set(self._prefix + list_id, kept.to_bytes(), ex=self._ttl_seconds)
            pipe.execute()

    async def _read(self, list_id: str) -> bytes | None:
        try:
            return cast("bytes | None", await self._reader.get(self._prefix + list_id))
        except (RedisError, OSError) as error:
            raise StoreError(f"the store did not answer: {type(error).__name__}") from error
