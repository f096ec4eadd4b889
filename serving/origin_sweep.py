"""Takes erased people out of what the store knows of users: which visitor each of them was."""

from collections.abc import Callable

from serving.cluster_client import StoreClient

_AT_ONCE = 500


async def forget_origins(client: StoreClient, pattern: str, goes: Callable[[bytes, bytes], bool]) -> None:
    """Remove the keys that go.

    Nothing leads from a visitor to the users, so every key is read: 500 of them in two round trips.

    Args:
        client: The store.
        pattern: Of the keys.
        goes: Whether one does, given its name and its value, a visitor with its mark.
    """
    some: list[bytes] = []
    async for key in client.scan_iter(match=pattern, count=_AT_ONCE):
        some.append(key)
        if len(some) == _AT_ONCE:
            await _forget_those(client, some, goes)
            some = []
    await _forget_those(client, some, goes)


async def _forget_those(client: StoreClient, keys: list[bytes], goes: Callable[[bytes, bytes], bool]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.get(key)
        found = await pipe.execute()
    for key, value in zip(keys, found, strict=True):
        if value is not None and goes(key, value):
            await client.unlink(key)
