"""Erased people whom a store brings back, for one that takes another's place may have lost the erasure."""

from recsys.tombstones import Tombstones
from serving.state_store import StateStore


async def brought_back(store: StateStore, tombstones: Tombstones) -> set[str]:
    """Everybody who has a tombstone and a state, which may be from before; who was who is forgotten at once.

    Every key of the store is looked at, once anybody was erased.

    Raises:
        StoreError: The store did not answer.
    """
    if not len(tombstones):
        return set()
    erased_ms = tombstones.as_of_now()
    await store.forget_origins(lambda person: erased_ms(person) >= 0)
    return {person async for person in store.people() if erased_ms(person) >= 0}
