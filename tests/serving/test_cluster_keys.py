"""Every command that the stores issue touches one slot of a cluster, as a real server saw the commands."""

import asyncio

import pytest
import redis
from redis.crc import key_slot

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.store_url import is_cluster, node_urls
from serving.cluster_client import cluster_options
from serving.embedded_store import embedded_store
from serving.shard_notes import NUM_COPIES, spread_tags
from serving.state_store import StateStore
from serving.store_clients import connect
from tests.serving.every_store_call import SLOTS, TIMEOUT_MS, every_store_call


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """The words of every command of everything that the stores can do, inside scripts too, in their order."""
    seen: list[list[str]] = []
    with embedded_store() as url, redis.Redis.from_url(url) as admin, admin.monitor() as monitor:
        every_store_call(url)
        admin.echo("done")
        while not seen or seen[-1] != ["ECHO", "done"]:
            seen.append(monitor.next_command()["command"].split())
    return seen


def test_no_command_and_no_transaction_touches_two_slots(commands: list[list[str]]) -> None:
    together: set[int] | None = None
    names, widest = set[str](), 0
    for name, *words in commands:
        keys = [word for word in words if word.startswith("recsys:")]
        slots = {int(key_slot(key.encode())) for key in keys}
        names.add(name)
        widest = max(widest, len(keys))
        assert len(slots) <= 1, (name, keys)
        if name in {"WATCH", "MULTI"}:
            together = slots | (together or set())
        elif together is not None:
            together |= slots
            assert len(together) <= 1, (name, keys)
            together = None if name in {"EXEC", "UNWATCH"} else together
    assert {"GET", "SET", "MGET", "MULTI", "EXEC", "DEL", "UNLINK", "SADD"} <= names
    assert widest >= len(SLOTS)


@pytest.mark.parametrize("user_id", ["u", "}", "{", "a}b", "{}", "x" * 300, "\n"])
def test_all_keys_of_one_shopper_lie_in_one_slot(user_id: str) -> None:
    async def keys(tenant: str) -> set[int]:
        client = connect("redis://127.0.0.1:1", TIMEOUT_MS)
        store = StateStore(client, tenant, StateConfig())
        await client.aclose()
        return {int(key_slot(key(user_id).encode())) for key in (store.keys.state, store.keys.origin)}

    mine, theirs = asyncio.run(keys("one")), asyncio.run(keys("two"))
    assert len(mine) == len(theirs) == 1


def test_notes_are_spread_evenly_over_the_slots() -> None:
    slots = sorted(int(key_slot(f"recsys:t:loaded:{{{tag}}}".encode())) for tag in spread_tags())
    assert len(slots) == NUM_COPIES
    assert [slot // 128 for slot in slots] == list(range(NUM_COPIES))


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    url = "rediss+cluster://me:hush@one:7000,two?protocol=3"
    assert is_cluster(url)
    assert not is_cluster("redis://one:7000")
    assert node_urls(url) == ["rediss://me:hush@one:7000?protocol=3", "rediss://me:hush@two?protocol=3"]
    options = cluster_options(url, 0.5)
    assert options["nodes"] == [("one", 7000), ("two", 6379)]
    assert (options["username"], options["password"], options["ssl"]) == ("me", "hush", True)


@pytest.mark.parametrize("url", ["redis+cluster://", "redis+cluster://:hush@a:1,,b", "redis+cluster://a:1/3"])
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(StoreError, match="expected") as told:
        connect(url, TIMEOUT_MS)
    assert "hush" not in str(told.value)
