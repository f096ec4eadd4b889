"""Tests that nothing of one tenant is another's, whatever ids look like."""

import asyncio
import random

from recsys.config import StateConfig
from serving.page_store import list_keys
from serving.state_store import StateStore
from serving.store_clients import connect

TENANTS = ("a", "a-b", "A", "a_", "default", "u", "p")
PIECES = (
    "a",
    "u1",
    ":",
    "*",
    "{",
    "}",
    "?",
    "\n",
    "\r\n",
    "\x00",
    "recsys:",
    "recsys:a:u:{",
    "}:o:{",
    "é",
    "[a]",
    "\\",
)


def an_id(draw: random.Random) -> str:
    """An id as somebody would make it who wants to be another."""
    return "".join(draw.choice(PIECES) for _ in range(draw.randrange(1, 6)))


async def collisions(number: int, seed: int = 0) -> int:
    """Keys that two tenants, two kinds of thing or two ids would share, among so many random ones."""
    draw, owner, shared = random.Random(seed), dict[str, tuple[str, str, str]](), 0
    client = connect("redis://127.0.0.1:1", 1)
    stores = {tenant: StateStore(client, tenant, StateConfig()) for tenant in TENANTS}
    for _ in range(number):
        tenant, one = draw.choice(TENANTS), an_id(draw)
        keys = {
            "state": stores[tenant].keys.state(one),
            "origin": stores[tenant].keys.origin(one),
            "list": list_keys(tenant, [f"{draw.getrandbits(128):032x}"])[0],
        }
        for kind, key in keys.items():
            mine = (tenant, kind, one if kind != "list" else key)
            shared += owner.setdefault(key, mine) != mine
            shared += not key.startswith(f"recsys:{tenant}:")
    await client.aclose()
    return shared


def test_no_key_is_two_tenants() -> None:
    assert asyncio.run(collisions(5_000)) == 0
