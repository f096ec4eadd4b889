"""Where the rest of a list waits for the client to turn the page: the RESP server, with a short time to live.

Answers do not wait for the write. One task writes what has gathered; until it is written, this process reads
it from memory, and another process that is asked at once looks again for a moment. When the server is away,
lists wait until too many do, and answers then have one page.
"""

import asyncio
from datetime import timedelta
from typing import cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from recsys.errors import StoreError
from serving.kept_list import KeptList

MAX_WAITING = 500
"""Most lists in memory while the server is away."""

_RETRY_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.02
_LOOKS = 10

_log = structlog.get_logger(__name__)


class PageStore:
    """Keeps lists by id, under ``recsys:<tenant>:p:<list id>``."""

    def __init__(self, client: Redis, tenant: str, time_to_live: timedelta) -> None:
        self._client = client
        self._prefix = f"recsys:{tenant}:p:"
        self._ttl_seconds = max(1, round(time_to_live.total_seconds()))
        self._waiting: dict[str, KeptList] = {}
        self._news = asyncio.Event()
        self._fails = False

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

    async def run(self) -> None:
        """Write what is handed over until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.flush():
                await asyncio.sleep(_RETRY_SECONDS)
                self._news.set()

    async def flush(self) -> bool:
        """Write what waits now; whether that worked."""
        group = list(self._waiting.items())
        try:
            if len(group) == 1:
                [(list_id, kept)] = group
                await self._client.set(self._prefix + list_id, kept.to_bytes(), ex=self._ttl_seconds)
            else:
                await self._write(group)
        except (RedisError, OSError) as error:
            if not self._fails:
                _log.warning("later pages wait in memory", reason=type(error).__name__)
            self._fails = True
            return False
        self._fails = False
        for list_id, _ in group:
            del self._waiting[list_id]
        return True

    async def _write(self, group: list[tuple[str, KeptList]]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for list_id, kept in group:
                pipe.set(self._prefix + list_id, kept.to_bytes(), ex=self._ttl_seconds)
            await pipe.execute()

    async def _read(self, list_id: str) -> bytes | None:
        try:
            return cast("bytes | None", await self._client.get(self._prefix + list_id))
        except (RedisError, OSError) as error:
            raise StoreError(f"the store did not answer: {type(error).__name__}") from error
