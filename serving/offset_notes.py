"""Up to which offset of a partition the states have come, written down in the store beside them.

A note lies in the same stream of writes as the states that it speaks of. Whatever store answers later, as a
replica that had not everything: with the note it has every write before the note. A note tells the number of
its filling, too; one of an earlier filling says nothing.
"""

from collections.abc import Callable

from redis.exceptions import ResponseError, WatchError

from recsys.errors import StoreError
from serving.cluster_client import STORE_ERRORS, LearningCluster, StoreClient, transaction
from serving.fillings import Footing
from serving.lineage import server_lineage
from serving.shard_notes import ShardNotes


class OffsetNotes:
    """The note of one partition."""

    def __init__(self, client: StoreClient, name: str, ttl_seconds: int) -> None:
        """Keep it under the key ``name``; on a cluster on every node."""
        self._client, self._ttl_seconds = client, ttl_seconds
        self._notes = ShardNotes(client, name)

    async def write(self, footing: Footing, offset: int, is_server: Callable[[str], bool]) -> None:
        """Write that all records below an offset are in the states, unless another server answers by now.

        A single server is asked on the connection that the note takes. Of a cluster the caller has to have
        asked since the records were applied; a primary that fails in between, and has not sent its last
        writes on by the time the note is written, leaves a note that says more than its replica has.

        Args:
            footing: The filling that the states build on.
            offset: The first that may be missing.
            is_server: Whether an id is that of the server that has the states, see ``StateStore.server_id``.

        Raises:
            StoreError: It did not answer, or is another one.
        """
        value = f"{footing.number}:{offset}".encode()
        try:
            if isinstance(self._client, LearningCluster):
                footing.require()
                await self._notes.write(value, self._ttl_seconds)
                return
            [key] = self._notes.keys
            async with transaction(self._client, key) as pipe:
                await pipe.watch(key)
                try:
                    server = await server_lineage(pipe)
                except ResponseError:  # it may not be asked, see ``StateStore.server_id``
                    server = ""
                if not is_server(server):
                    raise StoreError("another server answers")
                footing.require()
                pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
                pipe.set(key, value, ex=self._ttl_seconds)
                await pipe.execute()
        except WatchError:  # another reader of the partition, with a note as good
            return
        except STORE_ERRORS as error:
            raise StoreError(f"the store did not answer: {type(error).__name__}") from error

    async def read(self, number: int) -> int | None:
        """The offset that was written of a filling; ``None`` where a node has no such note.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            copies = [(raw or b"").partition(b":") for raw in await self._notes.read()]
        except STORE_ERRORS as error:
            raise StoreError(f"the store did not answer: {type(error).__name__}") from error
        if any(of != str(number).encode() for of, _, _ in copies):
            return None
        return min(int(offset) for _, _, offset in copies)
