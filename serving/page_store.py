"""Where the rest of a list waits for the client to turn the page: the RESP server, with a short time to live.

Answers do not wait for the write. A ``GroupWriter`` writes what has gathered, which takes half the time that
writing from the event loop takes; until it is written, this process reads it from memory, and another process
that is asked at once looks again for a moment. When the server is away, lists wait until too many do; then
answers have one page.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import cast

from recsys.errors import StoreError
from serving.blocking_cluster import BlockingClient
from serving.cluster_client import STORE_ERRORS, StoreClient
from serving.group_writer import GroupWriter
from serving.kept_list import KeptList
from serving.second_look import look_again

MAX_WAITING = 500
"""Most lists in memory while the server is away."""
GROUP_SECONDS = 0.02
"""Longest that a list waits for others before it is written with them."""

_LOOK_AGAIN_SECONDS = 0.02
_LOOKS = 10


def list_keys(tenant: str, list_ids: Iterable[str]) -> list[str]:
    """Where lists lie."""
    return [f"recsys:{tenant}:p:{list_id}" for list_id in list_ids]


class PageStore:
    """Keeps lists by id, under ``recsys:<tenant>:p:<list id>``."""

    def __init__(
        self, reader: StoreClient, writer: BlockingClient, tenant: str, time_to_live: timedelta
    ) -> None:
        """Begin to write what is handed over; both clients, of one store, stay the caller's to close."""
        self._reader = reader
        self._client = writer
        self._tenant = tenant
        [self._prefix] = list_keys(tenant, [""])
        self._ttl_seconds = max(1, round(time_to_live.total_seconds()))
        self._writer: GroupWriter[KeptList] = GroupWriter(
            "later pages",
            self._write,
            (StoreError,),
            group_seconds=GROUP_SECONDS,
            max_waiting=MAX_WAITING,
        )

    def keep(self, list_id: str, kept: KeptList) -> bool:
        """Hand a list over to be written; whether it was taken."""
        return self._writer.add(list_id, kept)

    async def get(self, list_id: str, *, is_new: bool) -> KeptList | None:
        """A list, or ``None`` when it has expired.

        Args:
            list_id: Its id.
            is_new: Whether it may be so new that the process which ranked it is still writing it.

        Raises:
            StoreError: The server did not answer, or what it holds cannot be read.
        """

        async def look() -> KeptList | None:
            if (waiting := self._writer.get(list_id)) is not None:
                return waiting
            raw = await self._read(list_id)
            return None if raw is None else KeptList.from_bytes(raw)

        return await look_again(look, looks=_LOOKS if is_new else 1, seconds=_LOOK_AGAIN_SECONDS)

    async def erase(self, list_ids: Sequence[str]) -> None:
        """Forget lists.

        Raises:
            StoreError: The server did not answer.
        """
        for list_id in list_ids:
            self._writer.drop(list_id)
        try:
            for key in list_keys(self._tenant, list_ids):
                await self._reader.unlink(key)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error

    def close(self) -> None:
        """Write what waits and stop."""
        self._writer.close()

    def _write(self, lists: Mapping[str, KeptList]) -> None:
        rows = [(self._prefix + list_id, kept.to_bytes()) for list_id, kept in lists.items()]
        try:
            if len(rows) == 1:
                self._client.set(*rows[0], ex=self._ttl_seconds)
                return
            with self._client.pipeline(transaction=False) as pipe:
                for key, raw in rows:
                    pipe.set(key, raw, ex=self._ttl_seconds)
                pipe.execute()
        except STORE_ERRORS as error:
            raise _no_answer(error) from error

    async def _read(self, list_id: str) -> bytes | None:
        try:
            return cast("bytes | None", await self._reader.get(self._prefix + list_id))
        except STORE_ERRORS as error:
            raise _no_answer(error) from error


def _no_answer(error: Exception) -> StoreError:
    return StoreError(f"the store did not answer: {type(error).__name__}")
