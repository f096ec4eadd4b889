"""Takes erased visitors out of what the store knows of users: which visitor each of them was."""

from collections.abc import Collection
from itertools import compress

from serving.cluster_client import StoreClient

_AT_ONCE = 500


async def forget_origins(client: StoreClient, pattern: str, visitors: Collection[str]) -> None:
    """Remove the keys whose value is one of some visitors.

    Nothing leads from a visitor to the users, so every key is read: 500 of them in two round trips.

    Args:
        client: The store.
        pattern: Of the keys.
        visitors: With their marks.
    """
    values = {visitor.encode() for visitor in visitors}
    some: list[bytes] = []
    async for key in client.scan_iter(match=pattern, count=_AT_ONCE):
        some.append(key)
        if len(some) == _AT_ONCE:
            await _forget_those(client, some, values)
            some = []
    await _forget_those(client, some, values)


async def _forget_those(client: StoreClient, keys: list[bytes], values: set[bytes]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.get(key)
        found = await pipe.execute()
    for key in compress(keys, (value in values for value in found)):
        await client.unlink(key)
