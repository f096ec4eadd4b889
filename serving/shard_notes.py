"""A note that every node of a cluster keeps, in the same stream of writes as the states that it speaks of.

Nodes lose what they hold one by one: a primary that starts empty, a replica that takes over with what had
reached it. A note on one of them says nothing of the others, so on a cluster a note is written ``NUM_COPIES``
times, under keys whose slots are spread evenly: whoever holds a 64th of the slots in a row has one. A single
server keeps one.
"""

from functools import cache
from itertools import count

from redis.asyncio import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from serving.cluster_client import StoreClient

NUM_COPIES = 128
"""Of a note on a cluster, which therefore covers up to 64 primaries that share the slots equally."""


@cache
def spread_tags() -> tuple[str, ...]:
    """Hash tags of which each lies in another ``NUM_COPIES``-th of the slots, in the slots' order."""
    width, found = REDIS_CLUSTER_HASH_SLOTS // NUM_COPIES, dict[int, str]()
    for number in count():
        found.setdefault(key_slot(str(number).encode()) // width, str(number))
        if len(found) == NUM_COPIES:
            return tuple(found[part] for part in sorted(found))
    raise AssertionError("the numbers do not end")


class ShardNotes:
    """One note; all methods raise what the client raises."""

    def __init__(self, client: StoreClient, name: str) -> None:
        """Keep it.

        Args:
            client: Stays the caller's to close.
            name: The key, on a single server.
        """
        self._client = client
        is_spread = isinstance(client, RedisCluster)
        self.keys = [f"{name}:{{{tag}}}" for tag in spread_tags()] if is_spread else [name]
        """Where it lies."""

    async def write(self, value: bytes | int, ttl_seconds: int) -> None:
        """Write the note everywhere."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in self.keys:
                pipe.set(key, value, ex=ttl_seconds)
            await pipe.execute()

    async def read(self) -> list[bytes | None]:
        """All copies of the note; ``None`` for those that are not there."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in self.keys:
                pipe.get(key)
            return list(await pipe.execute())

    async def remove(self) -> None:
        """Remove the note everywhere."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in self.keys:
                pipe.delete(key)
            await pipe.execute()
